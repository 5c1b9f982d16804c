"""A call that is interrupted between any two requests to the cloud and repeated ends like one that was not
interrupted.
"""

from __future__ import annotations

from collections import Counter

import pytest

from moorage.cloud.memory_volumes import MemoryVolumes
from moorage.csi.backend import Source, VolumeRequest
from moorage.csi.size import GIB
from moorage.model.errors import MoorageError
from still import backend_on

pytestmark = pytest.mark.unit


class CutOff(BaseException):
    """The process dies here: nothing may catch it."""


class Cutting:
    """A port that dies at its n-th call, before it or after it; the cloud lives on."""

    def __init__(self, port, calls, done):
        self.port, self.left, self.done = port, calls, done

    def __getattr__(self, name):
        method = getattr(self.port, name)

        def call(*words, **named):
            self.left -= 1
            if self.left == 0 and not self.done:
                raise CutOff
            answer = method(*words, **named)
            if self.left == 0:
                raise CutOff
            return answer

        return call


VOLUME = VolumeRequest("pvc-1", GIB, {"type": "fast"})


def with_volume(backend):
    return backend.create(VOLUME).handle


def at_node(backend):
    handle = with_volume(backend)
    backend.publish(handle, "node-1")
    return handle


def at_lost_node(backend):
    handle = at_node(backend)
    backend.cinder.servers.discard("node-1")
    return handle


def with_snapshot(backend):
    return backend.snapshot("s", with_volume(backend), {}).handle


WORK = {
    "create": (lambda backend: None, lambda backend, _: backend.create(VOLUME)),
    "restore": (
        with_snapshot,
        lambda backend, handle: backend.create(VolumeRequest("pvc-2", GIB, source=Source(snapshot=handle))),
    ),
    "clone": (
        with_volume,
        lambda backend, handle: backend.create(VolumeRequest("pvc-2", GIB, source=Source(volume=handle))),
    ),
    "delete": (with_volume, lambda backend, handle: backend.delete(handle)),
    "publish": (with_volume, lambda backend, handle: backend.publish(handle, "node-1")),
    "unpublish": (at_node, lambda backend, handle: backend.unpublish(handle, "node-1")),
    "unpublish from a lost node": (at_lost_node, lambda backend, handle: backend.unpublish(handle, "node-1")),
    "expand": (at_node, lambda backend, handle: backend.expand(handle, 3 * GIB)),
    "modify": (with_volume, lambda backend, handle: backend.modify(handle, {"type": "files"})),
    "snapshot": (with_volume, lambda backend, handle: backend.snapshot("s", handle, {})),
    "delete snapshot": (with_snapshot, lambda backend, handle: backend.delete_snapshot(handle)),
}


def world(cinder):
    """All existing volumes and snapshots once no change is in progress, without ids."""
    for _ in range(9):
        volumes, snapshots = cinder.list(), cinder.snapshots()
    kept = [(v.name, v.size, v.status, v.type, tuple(a.server for a in v.attachments)) for v in volumes]
    return sorted(kept), sorted((s.name, s.size, s.status) for s in snapshots)


def begun(name, looks):
    cinder = MemoryVolumes(servers={"node-1", "node-2"}, polls=looks)
    prepare, work = WORK[name]
    handle = prepare(backend_on(cinder))
    cinder.calls.clear()
    return cinder, handle, work


@pytest.mark.parametrize("looks", [0, 2])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("name", WORK)
def test_interrupted_anywhere_and_repeated(name, done, looks):
    cinder, handle, work = begun(name, looks)
    work(backend_on(cinder), handle)
    changes, expected = Counter(cinder.calls), world(cinder)
    for number in range(1, 30):
        cinder, handle, work = begun(name, looks)
        try:
            work(backend_on(Cutting(cinder, number, done)), handle)
        except CutOff:
            work(backend_on(cinder), handle)
        else:
            break
        assert world(cinder) == expected, f"cut off at call {number}"
        for change in ("create", "attach", "detach", "extend", "retype", "create_snapshot", "delete"):
            assert cinder.calls.count(change) <= changes[change], f"{change} twice, cut off at call {number}"
    else:
        pytest.fail("no end")
    assert number > 2


@pytest.mark.parametrize("change", ["create", "create_snapshot"])
@pytest.mark.parametrize("done", [False, True])
def test_interrupted_during_cleanup_of_failure(change, done):
    """Failed volumes are deleted in the end, wherever the cleanup was interrupted, and one healthy volume exists."""
    name = "create" if change == "create" else "snapshot"
    for number in range(1, 30):
        cinder, handle, work = begun(name, 2)
        cinder.failing[change] = "no room"
        with pytest.raises((CutOff, MoorageError)) as caught:
            work(backend_on(Cutting(cinder, number, done)), handle)
        cinder.failing.clear()
        finish(lambda: work(backend_on(cinder), handle))  # noqa: B023
        volumes, snapshots = world(cinder)
        assert [row[0] for row in (volumes if name == "create" else snapshots)] == [
            VOLUME.name if name == "create" else "s"
        ]
        assert all(row[2] == "available" for row in volumes + snapshots)
        if caught.type is not CutOff:
            return
    pytest.fail("no end")


def finish(work):
    """Repeat as the sidecars do: an earlier failure may be reported once."""
    try:
        work()
    except MoorageError:
        work()
