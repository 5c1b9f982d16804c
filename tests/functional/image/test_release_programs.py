"""The programs of the built release run, and our own Go code holds to its tests."""

import os
import shutil
import subprocess

import pytest

from moorage.config import Paths
from moorage.image.release import PROGRAMS, build, find_release, verify
from moorage.image.release.go import find_go
from moorage.image.release.recipes import go_sources

pytestmark = pytest.mark.functional

VERSION = {"etcdctl": "version", "kubectl": "version --client", "containerd-shim-runc-v2": "-v", "coredns": "-version"}
NAMES = [(name, one.version) for one in PROGRAMS for name in (one.name, *one.links)]


@pytest.fixture(scope="module")
def release():
    return find_release(Paths.from_environment(os.environ).cache)


@pytest.mark.parametrize(("name", "version"), [pair for pair in NAMES if pair[0] not in ("kubernetes", "pause")])
def test_program_runs_with_expected_version(release, name, version):
    words = [release.program(name), *VERSION.get(name, "--version").split()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert version.removeprefix("v") in done.stdout + done.stderr


def test_release_matches_manifest(release):
    assert verify(release) == []


@pytest.mark.parametrize("name", [one.name for one in PROGRAMS])
def test_program_is_static(release, name):
    done = subprocess.run(["ldd", release.program(name)], capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in done.stderr


def test_runc_filters_system_calls(release):
    done = subprocess.run([release.program("runc"), "--version"], capture_output=True, text=True, check=True)
    assert "libseccomp: " in done.stdout


def test_multi_call_binary_rejects_unknown_name(release):
    done = subprocess.run([release.program("kubernetes")], capture_output=True, text=True, check=False)
    assert (done.returncode, '"kubernetes", which is none of its programs' in done.stderr) == (2, True)


def test_kubectl_reports_errors(release):
    done = subprocess.run([release.program("kubectl"), "frobnicate"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith('error: unknown command "frobnicate"')


@pytest.fixture(scope="module")
def go_environment(tmp_path_factory):
    """Go with a cache of its own that the tests leave nothing of; it must need no module from outside."""
    folder = tmp_path_factory.mktemp("go")
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "MOORAGE_GO") if key in os.environ}
    settings = {"GOCACHE": str(folder / "cache"), "GOMODCACHE": str(folder / "mod"), "GOPROXY": "off"}
    return environment | settings | {"GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


@pytest.mark.parametrize("package", ["flanneld/options", "pause"])
def test_go_tests_pass(go_environment, tmp_path, package):
    go = find_go(tmp_path, go_environment).program
    done = subprocess.run(
        [go, "test", "."], cwd=go_sources() / package, env=go_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_go_code_is_formatted(go_environment, tmp_path):
    go = find_go(tmp_path, go_environment).program
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    gofmt = shutil.which("gofmt", path=f"{root}/bin") or shutil.which("gofmt")
    assert gofmt, f"no gofmt in {root}/bin"
    assert subprocess.run([gofmt, "-l", go_sources()], capture_output=True, text=True, check=True).stdout == ""


def test_go_builds_our_main(tmp_path):
    pause = [one for one in PROGRAMS if one.name == "pause"]
    built = build(tmp_path, report=print, contents=pause)
    assert verify(built) == []
    assert [path.name for path in tmp_path.iterdir()] == ["release"]
