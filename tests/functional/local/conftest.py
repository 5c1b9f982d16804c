"""A local cloud of the tests' own, in a network namespace of its own, beside whatever else runs here."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from moorage.local.cloud import LocalCloud
from moorage.local.supervisor import left

CLONE_NEWNET = 0x40000000
CACHE = Path(os.environ.get("MOORAGE_CACHE") or Path.home() / ".cache" / "moorage")


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
def local(namespace):
    """A cloud that has not been started; nothing of it is left at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mrg-"))
    cloud = LocalCloud(folder / "state", folder / "run", CACHE, folder / "clouds.yaml")
    yield cloud
    cloud.reset(str)
    assert left(cloud.layout) == []
    assert not cloud.layout.state.exists()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cloud(local):
    """The cloud, up."""
    local.up(str)
    return local
