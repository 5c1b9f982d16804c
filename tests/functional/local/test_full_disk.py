"""A disk that fills up while the cloud starts is reported; after freeing space, the same command works."""

import ctypes
import os
import subprocess

import pytest

from moorage.config import Paths
from moorage.local import doctor
from moorage.local.cloud import LocalCloud
from moorage.local.supervisor import left
from moorage.model.errors import BadInput, Failed

pytestmark = [pytest.mark.functional, pytest.mark.cloud, pytest.mark.timeout(600)]

CLONE_NEWNET = 0x40000000


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


@pytest.fixture(scope="module")
def namespace():
    """Move this thread, and the processes that it starts, into a new network namespace; move back at the end."""
    if os.geteuid() != 0:
        pytest.fail("these tests make network namespaces: run them as root")
    with open("/proc/thread-self/ns/net") as home:
        _libc("unshare", CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
        _libc("setns", home.fileno(), CLONE_NEWNET)


@pytest.fixture(scope="module")
def small(namespace, tmp_path_factory):
    """A file system of 30 MB; yields its folder and a function that gives it another size."""
    folder = tmp_path_factory.mktemp("d")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "moorage-test", folder], check=True)
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def cloud(small):
    """A cloud on it, which has not been started; nothing of it is left at the end."""
    folder, _ = small
    cache = Paths.from_environment(os.environ).cache
    made = LocalCloud(folder / "state", folder / "run", cache, folder / "clouds.yaml")
    yield made
    made.reset(str)
    assert left(made.layout) == []
    assert not made.layout.state.exists()


def test_up_with_too_small_disk_changes_nothing(cloud):
    with pytest.raises(BadInput, match="GiB free below"):
        cloud.up(str)
    assert not cloud.layout.state.exists()
    assert not cloud.layout.run.exists()


@pytest.mark.faults
def test_up_with_disk_that_fills_up_reports_and_can_be_repeated(cloud, small, monkeypatch):
    _, resize = small
    monkeypatch.setattr(doctor, "DISK_NEEDED", 0)
    with pytest.raises(Failed, match="is full"):
        cloud.up(str)
    assert left(cloud.layout) == []
    resize("4g")
    cloud.up(str)
    assert [row.name for row in cloud.status() if row.health != "ready"] == []
