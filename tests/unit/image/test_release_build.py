"""The build's own logic, with a stand-in for Go that writes small files and a log of what it was asked."""

import fcntl
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from moorage.image.release import Data, Pinned, Program, build, verify
from moorage.model.errors import Failed

pytestmark = pytest.mark.unit

STAND_IN = """#!/bin/sh
# Called as Go is: `env GOVERSION`, `install -ldflags FLAGS -tags TAGS WHAT`, `mod download MODULE`,
# `list -m -f {{.Dir}} MODULE`.
if [ "$1" = env ]; then echo "go${GO_VERSION-1.26.8}"; exit 0; fi
for what; do :; done
module="$GOMODCACHE/$(basename "$what")"
case "$1" in
    mod) mkdir -p "$module" && echo "one of $what" > "$module/one" && echo "two" > "$module/two"; exit ;;
    list) echo "$module"; exit ;;
esac
case "$what" in
    .) name=$(basename "$PWD") ;;
    *) name=$(basename "${what%@*}") ;;
esac
echo "$name cgo=$CGO_ENABLED $3" >> "$GO_LOG"
mkdir -p "$GOCACHE" "$GOMODCACHE"
if [ "$name" = "${GO_FAILS:-}" ]; then echo "$GO_SAYS" >&2; exit 1; fi
echo "$name $what" > "$GOBIN/$name"
"""

KUBERNETES = Program("kubernetes", "v1", package="k8s.io/kubernetes", folder="kubernetes", links=("kubelet",))
CTR = Program("ctr", "v2", package="example.org/containerd/cmd/ctr", variables=(("m.v", "v2"),))
PAUSE = Program("pause", "v1", folder="pause")
SIDECAR = Pinned("resizer", "v4", package="example.org/resizer/cmd/csi-resizer", folder="pause")
KINDS = Data("kinds.yaml", "v5", package="example.org/client", folder="pause", files=("one", "two"))
ALL = (KUBERNETES, CTR, PAUSE)


@pytest.fixture
def go(tmp_path):
    """Environment with a stand-in for Go, and what it was asked so far."""
    program = tmp_path / "go"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return {"PATH": os.environ["PATH"], "MOORAGE_GO": str(program), "GO_LOG": str(tmp_path / "asked")}


@pytest.fixture
def make(tmp_path, go):
    """`make(contents, **changed environment)`: build into one cache, from one folder of sources."""
    sources = tmp_path / "sources"
    for name in ("kubernetes", "pause"):
        (sources / name).mkdir(parents=True)
        (sources / name / "main.go").write_text(f"package {name}")

    def make(contents=ALL, reported=None, keep_go_cache=False, **changed):
        report = [].append if reported is None else reported.append
        return build(
            tmp_path / "cache",
            report=report,
            contents=contents,
            sources=sources,
            environment=go | changed,
            keep_go_cache=keep_go_cache,
        )

    return make


def asked(go):
    log = Path(go["GO_LOG"])
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def test_build_reports_each_program(make, go):
    reported = []
    release = make(reported=reported)
    assert reported == ["building 1/3 kubernetes v1", "building 2/3 ctr v2", "building 3/3 pause v1"]
    assert verify(release) == []
    assert release.program("kubelet").readlink().name == "kubernetes"
    assert [entry.name for entry in release.manifest.programs] == ["kubernetes", "kubelet", "ctr", "pause"]
    assert "ctr cgo=0 -s -w -X m.v=v2" in Path(go["GO_LOG"]).read_text()


def test_upstream_program_is_built_in_pinning_folder(make):
    release = make([SIDECAR])
    assert release.program("resizer").read_text() == "csi-resizer example.org/resizer/cmd/csi-resizer\n"
    assert release.manifest.programs[0].source == "example.org/resizer/cmd/csi-resizer@v4 kubernetes/pause"


def test_data_is_extracted_from_module(make):
    release = make([PAUSE, KINDS])
    assert release.data("kinds.yaml").read_text() == "one of example.org/client\ntwo\n"
    assert release.data("kinds.yaml").parent.name == "share"
    assert verify(release) == []


def test_data_is_reused_by_other_release(make):
    first = make([PAUSE, KINDS])
    reported = []
    second = make([CTR, KINDS], reported=reported)
    assert reported == ["building 1/1 ctr v2"]
    assert second.data("kinds.yaml").samefile(first.data("kinds.yaml"))
    assert verify(second) == []


def test_build_leaves_only_the_release(make, tmp_path):
    release = make()
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"release"}
    assert {path.name for path in (tmp_path / "cache" / "release").iterdir()} == {release.hash, "lock"}


def test_keep_go_cache_keeps_caches(make, tmp_path):
    make(keep_go_cache=True)
    assert (tmp_path / "cache" / "go" / "mod").is_dir()


def test_build_again_does_nothing(make, go):
    first = make()
    reported = []
    assert make(reported=reported) == first
    assert reported == []
    assert asked(go) == ["kubernetes", "ctr", "pause"]


def test_failed_build_reports_reason_and_keeps_programs(make, go):
    with pytest.raises(Failed) as caught:
        make(GO_FAILS="ctr", GO_SAYS="cmd/ctr/main.go:7:2: undefined: nonsense")
    assert "Go could not build ctr v2" in caught.value.message
    assert "undefined: nonsense" in caught.value.message
    reported = []
    assert verify(make(reported=reported)) == []
    assert reported == ["building 1/2 ctr v2", "building 2/2 pause v1"]
    assert asked(go) == ["kubernetes", "ctr", "ctr", "pause"]


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("write /x: no space left on device", "free some disk"),
        ("Get https://proxy: dial tcp: lookup proxy: no such host", "module proxy"),
        ("reading https://proxy/x.zip: 403 Forbidden", "module proxy"),
        ("undefined: x", "run it again"),
    ],
)
def test_failure_has_a_hint(make, output, advice):
    with pytest.raises(Failed) as caught:
        make(GO_FAILS="kubernetes", GO_SAYS=output)
    assert advice in caught.value.hint


def test_damaged_program_is_built_again(make, go, tmp_path):
    with pytest.raises(Failed):
        make(GO_FAILS="ctr", GO_SAYS="no")
    (tmp_path / "cache" / "release" / "building" / "bin" / "kubernetes").write_text("half")
    assert verify(make()) == []
    assert asked(go).count("kubernetes") == 2


def test_changed_program_is_built_and_others_reused(make, go):
    old = make()
    new = make((KUBERNETES, replace(CTR, version="v3"), PAUSE))
    assert new.hash != old.hash
    assert verify(new) == verify(old) == []
    assert asked(go) == ["kubernetes", "ctr", "pause", "ctr"]


def test_build_killed_before_its_end_resumes(make, go, tmp_path):
    release = make()
    release.directory.replace(tmp_path / "cache" / "release" / "building")
    assert verify(make()) == []
    assert asked(go) == ["kubernetes", "ctr", "pause"]


def test_leftovers_do_not_enter_the_release(make):
    with pytest.raises(Failed):
        make(GO_FAILS="pause", GO_SAYS="no")
    release = make((KUBERNETES, PAUSE))
    assert verify(release) == []


def test_concurrent_builds_build_once(make, go, tmp_path):
    store = tmp_path / "cache" / "release"
    store.mkdir(parents=True)
    reported, results = [], []
    with (store / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: results.append(make(reported=reported)))
        second.start()
        while not reported:
            assert second.is_alive()
        assert reported == ["waiting for another process that builds or downloads a release"]
        fcntl.flock(other, fcntl.LOCK_UN)
        second.join(20)
    assert verify(results[0]) == []


def test_missing_go_is_reported_first(make, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Failed, match="no Go to build with") as caught:
        make(MOORAGE_GO="", PATH=str(empty))
    assert "install Go 1.26" in caught.value.hint
    with pytest.raises(Failed, match="no Go to build with at /nowhere/go"):
        make(MOORAGE_GO="/nowhere/go")


@pytest.mark.parametrize("version", ["1.19.8", "1.26", "1.26.5", ""])
def test_old_go_is_rejected(make, go, version):
    with pytest.raises(Failed, match=r"1\.26\.\d+ is needed"):
        make(GO_VERSION=version)
    assert asked(go) == []


@pytest.mark.parametrize("version", ["1.26.6", "1.26.8 X:nodwarf5", "1.27.0", "2.0.0"])
def test_new_go_is_used(make, version):
    assert verify(make(GO_VERSION=version)) == []


def test_missing_c_library_is_reported_before_build(make, go, tmp_path):
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\necho '<stdin>:2:10: fatal error: seccomp.h: No such file' >&2\nexit 1\n")
    compiler.chmod(0o755)
    program = replace(CTR, static_c=True)
    with pytest.raises(Failed) as caught:
        make((KUBERNETES, program), CC=str(compiler))
    assert "seccomp.h is missing" in caught.value.message
    assert "libseccomp-dev" in caught.value.hint
    with pytest.raises(Failed, match="no-such-compiler"):
        make((KUBERNETES, program), CC="no-such-compiler")
    assert asked(go) == []


def test_full_disk_is_reported_before_build(make, go, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**11, 10**11, 5 * 10**9))
    with pytest.raises(Failed, match=r"has 5\.0 GB of free space; a build needs 15 GB"):
        make()
    assert asked(go) == []
