"""The node service, interrupted before or after each of its changes to the host, and repeated."""

from dataclasses import replace

import pytest

from moorage.csi.node.service import Node
from moorage.host.memory_filesystems import MemoryFilesystems
from node_service import Kubelet, capability, plug

pytestmark = pytest.mark.unit

GIB = 2**30
CHANGES = ("format", "repair", "mount", "bind", "make_read_only", "unmount", "grow", "grow_unmounted")
CHANGES += ("make_folder", "make_file", "remove", "rescan")


class Killed(BaseException):
    """As by SIGKILL: nothing of ours may catch it."""


class Mortal:
    """A box on which the driver is killed at the `fatal`-th change, before it is done or `after`."""

    def __init__(self, inner, fatal, after):
        self.inner, self.left, self.after = inner, fatal, after

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        return self.mortal(method) if name in CHANGES else method

    def mortal(self, method):
        def call(*words):
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            method(*words)
            if self.left == 0:
                raise Killed

        return call


def lives(folder, wanted, files, box):
    """A volume's whole life on a node, each call of kubelet repeated until it has ended."""
    node = Node(box, "n", "", 1, folder / "by-id", timeouts=0)

    def call(name, request):
        try:
            return getattr(node, name)(request, None)
        except Killed:
            node.files = files
            return getattr(Node(files, "n", "", 1, folder / "by-id", timeouts=0), name)(request, None)

    kubelet = Kubelet(call, "volume", folder / "staging", folder / "pods")
    seen = []

    def look():
        disks = {device: replace(disk) for device, disk in files.disks.items()}
        seen.append((disks, {path: tuple(map(repr, held)) for path, held in files.mounts.items() if held}))

    kubelet.stage(wanted)
    look()
    kubelet.publish(wanted, read_only=True)
    look()
    files.disks[folder / "vdb"].real = 2 * GIB
    kubelet.expand(2 * GIB)
    look()
    kubelet.unpublish()
    kubelet.unstage()
    look()
    assert kubelet.target() not in files.folders | files.files
    return seen


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("wanted", [capability(), capability("xfs"), capability(block=True)])
def test_interrupted_anywhere_reaches_same_state(tmp_path, wanted, after):
    (tmp_path / "vdb").touch()
    plug(tmp_path / "by-id", "volume", tmp_path / "vdb")

    def life(fatal):
        files = MemoryFilesystems()
        files.add(tmp_path / "vdb", GIB)
        box = Mortal(files, fatal, after)
        return lives(tmp_path, wanted, files, box), box.left

    undisturbed, left = life(10_000)
    changes = 10_000 - left
    assert changes >= 6
    for fatal in range(1, changes + 1):
        assert life(fatal)[0] == undisturbed, f"cut off at change {fatal} of {changes}"
