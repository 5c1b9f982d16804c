"""The node service, interrupted before or after each of its changes to the host, and repeated."""

from dataclasses import replace

import pytest

from moorage.host.memory_filesystems import MemoryFilesystems
from node_service import Kubelet, capability, node_service, plug

pytestmark = pytest.mark.unit

GIB = 2**30
CHANGES = ("format", "repair", "mount", "bind", "make_read_only", "unmount", "grow", "grow_unmounted")
CHANGES += ("make_folder", "make_file", "remove", "rescan")


class Killed(BaseException):
    """Stands for SIGKILL: no code of ours may catch it."""


class KilledHost:
    """A host on which the driver is killed at the `fatal`-th change, before or `after` it."""

    def __init__(self, inner, fatal, after):
        self.inner, self.remaining, self.after = inner, fatal, after

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        return self.kill_around(method) if name in CHANGES else method

    def kill_around(self, method):
        def call(*arguments):
            self.remaining -= 1
            if self.remaining == 0 and not self.after:
                raise Killed
            method(*arguments)
            if self.remaining == 0:
                raise Killed

        return call


def run_life_cycle(folder, requested, files, host):
    """Stage, publish, expand, unpublish and unstage a volume; repeat each call that is interrupted."""
    node = node_service(host, folder / "by-id")

    def call(name, request):
        try:
            return getattr(node, name)(request, None)
        except Killed:
            node.files = files
            return getattr(node_service(files, folder / "by-id"), name)(request, None)

    kubelet = Kubelet(call, "volume", folder / "staging", folder / "pods")
    states = []

    def record_state():
        disks = {device: replace(disk) for device, disk in files.disks.items()}
        states.append((disks, {path: tuple(map(repr, mounts)) for path, mounts in files.mounts.items() if mounts}))

    kubelet.stage(requested)
    record_state()
    kubelet.publish(requested, read_only=True)
    record_state()
    files.disks[folder / "vdb"].size = 2 * GIB
    kubelet.expand(2 * GIB)
    record_state()
    kubelet.unpublish()
    kubelet.unstage()
    record_state()
    assert kubelet.target() not in files.folders | files.files
    return states


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("requested", [capability(), capability("xfs"), capability(block=True)])
def test_life_cycle_interrupted_anywhere_and_repeated_reaches_same_state(tmp_path, requested, after):
    (tmp_path / "vdb").touch()
    plug(tmp_path / "by-id", "volume", tmp_path / "vdb")

    def run_life_cycle_killed_at(fatal):
        files = MemoryFilesystems()
        files.add(tmp_path / "vdb", GIB)
        host = KilledHost(files, fatal, after)
        return run_life_cycle(tmp_path, requested, files, host), host.remaining

    expected, remaining = run_life_cycle_killed_at(10_000)
    changes = 10_000 - remaining
    assert changes >= 6
    for fatal in range(1, changes + 1):
        assert run_life_cycle_killed_at(fatal)[0] == expected, f"interrupted at change {fatal} of {changes}"
