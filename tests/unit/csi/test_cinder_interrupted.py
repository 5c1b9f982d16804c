"""A call that is interrupted between any two requests to the cloud and repeated ends like one that was not
interrupted.
"""

from __future__ import annotations

from collections import Counter

import pytest

from memory_backend import backend_on
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.csi.backend import Source, VolumeRequest
from moorage.csi.size import GIB
from moorage.model.errors import MoorageError

pytestmark = pytest.mark.unit


class Interrupted(BaseException):
    """The process dies here: no code of ours may catch it."""


class InterruptedPort:
    """A port that interrupts the process at its n-th call, before or `after` it; the cloud keeps its state."""

    def __init__(self, port, calls, after):
        self.port, self.remaining, self.after = port, calls, after

    def __getattr__(self, name):
        method = getattr(self.port, name)

        def call(*arguments, **keywords):
            self.remaining -= 1
            if self.remaining == 0 and not self.after:
                raise Interrupted
            result = method(*arguments, **keywords)
            if self.remaining == 0:
                raise Interrupted
            return result

        return call


VOLUME = VolumeRequest("pvc-1", GIB, {"type": "fast"})


def existing_volume(backend):
    return backend.create(VOLUME).handle


def attached_volume(backend):
    handle = existing_volume(backend)
    backend.publish(handle, "node-1")
    return handle


def volume_of_deleted_server(backend):
    handle = attached_volume(backend)
    backend.cinder.servers.discard("node-1")
    return handle


def existing_snapshot(backend):
    return backend.snapshot("s", existing_volume(backend), {}).handle


CALLS = {
    "create": (lambda backend: None, lambda backend, _: backend.create(VOLUME)),
    "restore": (
        existing_snapshot,
        lambda backend, handle: backend.create(VolumeRequest("pvc-2", GIB, source=Source(snapshot=handle))),
    ),
    "clone": (
        existing_volume,
        lambda backend, handle: backend.create(VolumeRequest("pvc-2", GIB, source=Source(volume=handle))),
    ),
    "delete": (existing_volume, lambda backend, handle: backend.delete(handle)),
    "publish": (existing_volume, lambda backend, handle: backend.publish(handle, "node-1")),
    "unpublish": (attached_volume, lambda backend, handle: backend.unpublish(handle, "node-1")),
    "unpublish from a deleted server": (
        volume_of_deleted_server,
        lambda backend, handle: backend.unpublish(handle, "node-1"),
    ),
    "expand": (attached_volume, lambda backend, handle: backend.expand(handle, 3 * GIB)),
    "modify": (existing_volume, lambda backend, handle: backend.modify(handle, {"type": "files"})),
    "snapshot": (existing_volume, lambda backend, handle: backend.snapshot("s", handle, {})),
    "delete snapshot": (existing_snapshot, lambda backend, handle: backend.delete_snapshot(handle)),
}


def observe(cinder):
    """All existing volumes and snapshots once no change is in progress, without ids."""
    for _ in range(9):
        volumes, snapshots = cinder.list(), cinder.snapshots()
    rows = [(v.name, v.size, v.status, v.type, tuple(a.server for a in v.attachments)) for v in volumes]
    return sorted(rows), sorted((s.name, s.size, s.status) for s in snapshots)


def prepare_call(name, polls):
    cinder = MemoryVolumes(servers={"node-1", "node-2"}, polls=polls)
    prepare, call_backend = CALLS[name]
    handle = prepare(backend_on(cinder))
    cinder.calls.clear()
    return cinder, handle, call_backend


@pytest.mark.parametrize("polls", [0, 2])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_call_interrupted_anywhere_and_repeated_reaches_same_state(name, after, polls):
    cinder, handle, call_backend = prepare_call(name, polls)
    call_backend(backend_on(cinder), handle)
    changes, expected = Counter(cinder.calls), observe(cinder)
    for number in range(1, 30):
        cinder, handle, call_backend = prepare_call(name, polls)
        try:
            call_backend(backend_on(InterruptedPort(cinder, number, after)), handle)
        except Interrupted:
            call_backend(backend_on(cinder), handle)
        else:
            break
        assert observe(cinder) == expected, f"interrupted at call {number}"
        for change in ("create", "attach", "detach", "extend", "retype", "create_snapshot", "delete"):
            assert cinder.calls.count(change) <= changes[change], f"{change} twice, interrupted at call {number}"
    else:
        pytest.fail("the call never completed")
    assert number > 2


@pytest.mark.parametrize("change", ["create", "create_snapshot"])
@pytest.mark.parametrize("after", [False, True])
def test_cleanup_of_failure_interrupted_anywhere_is_completed(change, after):
    """Failed volumes are deleted in the end, wherever the cleanup was interrupted, and one healthy volume exists."""
    name = "create" if change == "create" else "snapshot"
    for number in range(1, 30):
        cinder, handle, call_backend = prepare_call(name, 2)
        cinder.failing[change] = "not enough space"
        with pytest.raises((Interrupted, MoorageError)) as caught:
            call_backend(backend_on(InterruptedPort(cinder, number, after)), handle)
        cinder.failing.clear()
        repeat_until_success(lambda: call_backend(backend_on(cinder), handle))  # noqa: B023
        volumes, snapshots = observe(cinder)
        assert [row[0] for row in (volumes if name == "create" else snapshots)] == [
            VOLUME.name if name == "create" else "s"
        ]
        assert all(row[2] == "available" for row in volumes + snapshots)
        if caught.type is not Interrupted:
            return
    pytest.fail("the call never completed")


def repeat_until_success(call):
    """Repeat as the sidecars do: an earlier failure may be reported once."""
    try:
        call()
    except MoorageError:
        call()
