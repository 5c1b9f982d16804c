"""The Debian root of a node image: created by mmdebstrap, prepared for being read-only."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from moorage.image.run import run
from moorage.model.errors import Failed

SUITE = "bookworm"
PACKAGES = Path(__file__).parent / "packages.txt"
LEFT_OUT = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/bash-completion/*",
    "/usr/lib/udev/hwdb.d/*",
)
ENABLED = (
    "systemd-networkd.service",
    "containerd.service",
    "moorage-node.service",
    "moorage-image@pause.service",
    "moorage-firewall.service",
)
"""Units that start at boot; moorage-node, which knows the node's role, starts all others."""
SERVERS_ONLY = (
    "dbus.service",
    "dbus.socket",
    "modprobe@.service",
    "sys-fs-fuse-connections.mount",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-random-seed.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
)
"""Units for a server with a kernel of its own; a machine container skips them."""
MASKED = (
    "systemd-sysusers.service",
    "systemd-network-generator.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "systemd-firstboot.service",
    "systemd-machine-id-commit.service",
    "systemd-remount-fs.service",
    "getty.target",
    "console-getty.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "e2scrub_reap.service",
)


def base(folder: Path, report: Callable[[str], None]) -> Path:
    """The root as a tar file, cached by the hash of its inputs. Needs root and Debian's archive."""
    names = [line.strip() for line in PACKAGES.read_text().splitlines() if line.strip() and not line.startswith("#")]
    recipe = hashlib.sha256(repr((SUITE, names, LEFT_OUT)).encode()).hexdigest()[:12]
    archive = folder / f"debian-{recipe}.tar"
    if archive.exists():
        return archive
    if os.geteuid() != 0:
        raise Failed("building a node image needs root", "run it as root, or download an image built elsewhere")
    report("node image: installing Debian")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"debian-{recipe}.partial.tar"
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=essential",
            f"--include={','.join(names)}",
            *excluded,
            SUITE,
            partial,
        ]
    )
    partial.rename(archive)
    return archive


def extract(archive: Path, root: Path) -> None:
    """Extract the root into a new folder, with owners and capabilities."""
    root.mkdir(parents=True)
    run(
        [
            "tar",
            "--extract",
            "--file",
            archive,
            "--directory",
            root,
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
        ]
    )


def packages(root: Path) -> dict[str, str]:
    """Name → version of the packages in a root, from dpkg's database."""
    listed = run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f=${Package} ${Version}\n"])
    return dict(line.split(" ", 1) for line in listed.splitlines())


def make_read_only(root: Path, version: str) -> None:
    """Prepare a root for being read-only: empty identity, selected services, compiled Python."""
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.symlink_to("/run/moorage/resolv.conf")
    for folder in ("boot", "run", "tmp", "proc", "sys", "dev", "var", "mnt", "opt", "usr/lib/modules"):
        (root / folder).mkdir(exist_ok=True)
    (root / "usr/lib/moorage").mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/moorage/version").write_text(f"{version}\n")
    system = root / "etc/systemd/system"
    for unit in MASKED:
        (system / unit).unlink(missing_ok=True)
        (system / unit).symlink_to("/dev/null")
    for unit in SERVERS_ONLY:
        (system / f"{unit}.d").mkdir()
        (system / f"{unit}.d/moorage.conf").write_text("[Unit]\nConditionVirtualization=!container\n")
    with (root / "usr/lib/os-release").open("a") as release:
        release.write(f"IMAGE_ID=moorage\nIMAGE_VERSION={version}\n")
    run(["systemctl", "--root", root, "enable", *ENABLED])
    run(["systemctl", "--root", root, "set-default", "multi-user.target"])
    _compile(root)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(root / "var/lib/apt", ignore_errors=True)


def _compile(root: Path) -> None:
    """Byte code that Python uses without comparing times, because packing sets these to 0."""
    folders = ["/usr/lib/python3.11", "/usr/lib/python3/dist-packages", "/usr/lib/moorage/python"]
    command = ["python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", *folders]
    run(["chroot", root, *command])
