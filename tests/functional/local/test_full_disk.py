"""A disk that fills up while the cloud starts is reported; after freeing space, the same command works."""

import ctypes
import os
import subprocess

import pytest

from moorage.config import Paths
from moorage.local import doctor
from moorage.local.cloud import LocalCloud
from moorage.local.supervisor import remaining_processes
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
        pytest.fail("these tests create network namespaces: run them as root")
    with open("/proc/thread-self/ns/net") as original:
        _libc("unshare", CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
        _libc("setns", original.fileno(), CLONE_NEWNET)


@pytest.fixture(scope="module")
def small_disk(namespace, tmp_path_factory):
    """A file system of 30 MB; yields its folder and a function that resizes it."""
    folder = tmp_path_factory.mktemp("d")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "moorage-test", folder], check=True)
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def cloud(small_disk):
    """A cloud on that file system, not started yet; the fixture verifies that reset deletes everything."""
    folder, _ = small_disk
    cache = Paths.from_environment(os.environ).cache
    local_cloud = LocalCloud(folder / "state", folder / "run", cache, folder / "clouds.yaml")
    yield local_cloud
    local_cloud.reset(str)
    assert remaining_processes(local_cloud.layout) == []
    assert not local_cloud.layout.state.exists()


def test_up_with_too_small_disk_changes_nothing(cloud):
    with pytest.raises(BadInput, match="GiB free below"):
        cloud.up(str)
    assert not cloud.layout.state.exists()
    assert not cloud.layout.run.exists()


@pytest.mark.faults
def test_up_with_disk_that_fills_up_reports_and_can_be_repeated(cloud, small_disk, monkeypatch):
    _, resize = small_disk
    monkeypatch.setattr(doctor, "DISK_NEEDED", 0)
    with pytest.raises(Failed, match="is full"):
        cloud.up(str)
    assert remaining_processes(cloud.layout) == []
    resize("4g")
    cloud.up(str)
    assert [row.name for row in cloud.status() if row.health != "ready"] == []
