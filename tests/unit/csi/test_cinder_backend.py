"""The backend for Cinder: its results and its errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memory_backend import backend_on
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.port.volumes import NewVolume
from moorage.csi.backend import NameTaken, Source, VolumeRequest
from moorage.csi.cinder.backend import CinderBackend
from moorage.csi.cinder.reader import Timeouts
from moorage.csi.size import GIB, SizeOutOfRange
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, Failed, NotFound, QuotaExceeded, TimedOut

pytestmark = pytest.mark.unit

CLAIM = {"csi.storage.k8s.io/pvc/name": "data", "type": "fast"}


@pytest.fixture
def cinder():
    return MemoryVolumes(servers={"node-1", "node-2"}, polls=2)


@pytest.fixture
def backend(cinder):
    return backend_on(cinder)


def request(name="pvc-1", size=GIB, **fields):
    return VolumeRequest(name, size, **fields)


def test_create_sets_type_zone_and_owner(backend, cinder):
    volume = backend.create(request(size=GIB + 1, parameters=CLAIM, zone="nova"))
    assert (volume.size, volume.zone, volume.nodes, volume.fault) == (2 * GIB, "nova", (), "")
    stored = cinder.get(volume.handle)
    assert (stored.name, stored.type, stored.status) == ("pvc-1", "fast", "available")
    assert stored.metadata == {
        "csi.storage.k8s.io/pvc/name": "data",
        "cinder.csi.openstack.org/cluster": "demo",
        "moorage_cluster": "demo",
    }


def test_create_again_returns_same_volume(backend, cinder):
    assert backend.create(request()) == backend.create(request())
    assert cinder.calls.count("create") == 1


def test_create_with_type_by_id(backend, cinder):
    volume = backend.create(request(parameters={"type": "type-2"}))
    assert cinder.get(volume.handle).type == "fast"
    assert backend.create(request(parameters={"type": "type-2"})) == volume
    assert backend.create(request(parameters={"type": "fast"})) == volume


def test_create_with_taken_name_is_rejected(backend):
    backend.create(request(parameters={"type": "fast"}))
    with pytest.raises(NameTaken, match="'pvc-1'"):
        backend.create(request(parameters={"type": "files"}))
    with pytest.raises(NameTaken):
        backend.create(request(source=Source(volume="other")))


def test_create_with_two_volumes_of_name_returns_older(backend, cinder):
    first = cinder.create(NewVolume("pvc-1", 1))
    cinder.create(NewVolume("pvc-1", 1))
    assert backend.create(request()).handle == first.id


def test_create_with_unknown_type_or_zone_lists_known(backend):
    with pytest.raises(BadInput, match="'gold' for this project; available: fast, files"):
        backend.create(request(parameters={"type": "gold"}))
    with pytest.raises(BadInput, match="'mars' for volumes; it has nova"):
        backend.create(request(zone="mars"))
    with pytest.raises(BadInput, match="'colour'"):
        backend.create(request(parameters={"colour": "red"}))


def test_create_availability_overrides_topology(backend, cinder):
    cinder.zone_names = ("nova", "west")
    volume = backend.create(request(zone="nova", parameters={"availability": "west"}))
    assert volume.zone == "west"


def test_create_with_any_zone_requests_no_zone(cinder, backend):
    any_zone = CinderBackend(cinder, replace(backend.settings, zones=False))
    assert any_zone.create(request(zone="mars")).zone == ""
    assert any_zone.capacity({}, "mars") == 999 * GIB


def test_create_beyond_quota_creates_nothing(backend, cinder):
    with pytest.raises(QuotaExceeded, match="1000 gigabytes"):
        backend.create(request(size=1001 * GIB))
    assert backend.volumes() == []


def test_create_failed_volume_is_deleted_and_next_attempt_succeeds(backend, cinder):
    cinder.failing["create"] = "no host has enough space"
    with pytest.raises(Failed, match="could not create volume pvc-1: no host has enough space"):
        backend.create(request())
    assert cinder.list("pvc-1")[0].status == "deleting"
    cinder.failing.clear()
    assert backend.create(request()).fault == ""
    assert [volume.name for volume in backend.volumes()] == ["pvc-1"]


def test_create_failure_without_user_messages_is_reported(backend, cinder, monkeypatch):
    def raise_unsupported(id):
        raise BadInput("Cinder refused: Version 3.5 is not supported by the API")

    monkeypatch.setattr(cinder, "last_message", raise_unsupported)
    cinder.failing["create"] = "out of space"
    with pytest.raises(Failed, match=r"could not create volume pvc-1$"):
        backend.create(request())
    assert cinder.list("pvc-1")[0].status == "deleting"


def test_unpublish_deleted_attachment_does_nothing(backend, cinder, monkeypatch):
    volume = backend.create(request())
    backend.publish(volume.handle, "node-1")
    cinder.servers.discard("node-1")
    stale = cinder.get(volume.handle)
    cinder.delete_attachment(stale.attachments[0].id)
    monkeypatch.setattr(cinder, "get", lambda id: stale)
    backend.unpublish(volume.handle, "node-1")
    assert cinder.calls.count("delete_attachment") == 2


def test_create_keeps_failed_volume_of_other_owner(backend, cinder):
    cinder.failing["create"] = "out of space"
    foreign = cinder.create(NewVolume("pvc-1", 1))
    with pytest.raises(NameTaken, match="in error and not this cluster's"):
        backend.create(request())
    assert cinder.get(foreign.id).status == "error"


def test_create_that_times_out_is_resumed(cinder, backend):
    cinder.polls = 10_000
    with pytest.raises(TimedOut, match="busy after 50 seconds"):
        backend.create(request())
    cinder.store.put(replace(cinder.store.peek_all()[0], status="available"))
    assert backend.create(request()).name == "pvc-1"
    assert cinder.calls.count("create") == 1


def test_unreachable_cinder_is_reported(backend, cinder):
    cinder.unreachable = "Cinder of the cloud 'mine' does not answer"
    for call in (lambda: backend.create(request()), lambda: backend.volumes(), lambda: backend.publish("v", "node-1")):
        with pytest.raises(CloudUnreachable):
            call()


def test_volume_in_error_has_fault(backend, cinder):
    volume = backend.create(request())
    cinder.store.put(replace(cinder.get(volume.handle), status="error_extending"))
    assert backend.volume(volume.handle).fault == "Cinder has it in status error_extending"


def test_delete_attached_volume_conflicts(backend, cinder):
    volume = backend.create(request())
    backend.publish(volume.handle, "node-1")
    with pytest.raises(Conflict, match="attached to server node-1"):
        backend.delete(volume.handle)
    backend.unpublish(volume.handle, "node-1")
    backend.delete(volume.handle)
    backend.delete(volume.handle)
    assert backend.volume(volume.handle) is None
    assert cinder.calls.count("delete") == 1


def test_delete_that_fails_reports_reason(backend, cinder):
    volume = backend.create(request())
    cinder.failing["delete"] = "the backend is unreachable"
    with pytest.raises(Failed, match="status error_deleting: the backend is unreachable"):
        backend.delete(volume.handle)


def test_publish_attaches_once_and_to_one_node(backend, cinder):
    volume = backend.create(request())
    assert backend.publish(volume.handle, "node-1") == {}
    backend.publish(volume.handle, "node-1")
    assert cinder.calls.count("attach") == 1
    assert backend.volume(volume.handle).nodes == ("node-1",)
    with pytest.raises(Conflict, match="attached to server node-1"):
        backend.publish(volume.handle, "node-2")
    backend.unpublish(volume.handle, "node-2")
    backend.unpublish(volume.handle, "node-1")
    backend.unpublish(volume.handle, "node-1")
    assert cinder.calls.count("detach") == 1
    backend.publish(volume.handle, "node-2")
    assert backend.volume(volume.handle).nodes == ("node-2",)


def test_publish_waits_for_detachment_elsewhere(backend, cinder):
    volume = backend.create(request())
    backend.publish(volume.handle, "node-1")
    cinder.detach("node-1", volume.handle)
    backend.publish(volume.handle, "node-2")
    assert backend.volume(volume.handle).nodes == ("node-2",)


def test_publish_missing_is_not_found_and_unpublish_does_nothing(backend):
    volume = backend.create(request())
    with pytest.raises(NotFound, match="no volume missing"):
        backend.publish("missing", "node-1")
    with pytest.raises(NotFound, match="no server missing"):
        backend.publish(volume.handle, "missing")
    backend.unpublish("missing", "node-1")
    backend.unpublish(volume.handle, "missing")


def test_publish_to_full_node_is_reported(backend, cinder):
    cinder.max_disks = 1
    first, second = backend.create(request("a")), backend.create(request("b"))
    backend.publish(first.handle, "node-1")
    with pytest.raises(QuotaExceeded, match="node-1 has as many disks as it can") as caught:
        backend.publish(second.handle, "node-1")
    assert "add a node" in caught.value.hint
    backend.publish(second.handle, "node-2")


def test_publish_that_fails_is_reported_and_retried(backend, cinder):
    volume = backend.create(request())
    cinder.failing["attach"] = "the host does not answer"
    with pytest.raises(Failed, match="to server node-1: the host does not answer"):
        backend.publish(volume.handle, "node-1")
    cinder.failing.clear()
    backend.publish(volume.handle, "node-1")
    assert backend.volume(volume.handle).nodes == ("node-1",)


def test_unpublish_that_fails_times_out_and_is_retried(backend, cinder):
    volume = backend.create(request())
    backend.publish(volume.handle, "node-1")
    cinder.failing["detach"] = "the guest uses it"
    with pytest.raises(TimedOut, match="still attached to server node-1"):
        backend.unpublish(volume.handle, "node-1")
    cinder.failing.clear()
    backend.unpublish(volume.handle, "node-1")
    assert backend.volume(volume.handle).nodes == ()


def test_unpublish_from_deleted_server_releases_volume(backend, cinder):
    volume = backend.create(request())
    backend.publish(volume.handle, "node-1")
    cinder.servers.discard("node-1")
    backend.unpublish(volume.handle, "node-1")
    backend.publish(volume.handle, "node-2")
    assert backend.volume(volume.handle).nodes == ("node-2",)


@pytest.mark.parametrize("attached", [False, True])
def test_expand_grows_in_use_to_required_size(backend, cinder, attached):
    volume = backend.create(request())
    if attached:
        backend.publish(volume.handle, "node-1")
    assert backend.expand(volume.handle, 2 * GIB + 1).size == 3 * GIB
    assert backend.expand(volume.handle, 2 * GIB).size == 3 * GIB
    assert cinder.calls.count("extend") == 1


def test_expand_that_fails_is_reported(backend, cinder):
    volume = backend.create(request())
    with pytest.raises(NotFound):
        backend.expand("missing", GIB)
    with pytest.raises(QuotaExceeded):
        backend.expand(volume.handle, 2000 * GIB)
    cinder.failing["extend"] = "not enough space"
    with pytest.raises(Failed, match="to 2 GiB: not enough space"):
        backend.expand(volume.handle, 2 * GIB)


def test_modify_changes_type_once(backend, cinder):
    volume = backend.create(request())
    for _ in range(2):
        backend.modify(volume.handle, {"type": "type-2"})
    backend.modify(volume.handle, {})
    assert cinder.get(volume.handle).type == "fast"
    assert cinder.calls.count("retype") == 1
    with pytest.raises(BadInput, match="'gold'"):
        backend.modify(volume.handle, {"type": "gold"})
    with pytest.raises(NotFound):
        backend.modify("missing", {"type": "fast"})
    cinder.failing["retype"] = "not between these types"
    with pytest.raises(Failed, match="the type files: not between these types"):
        backend.modify(volume.handle, {"type": "files"})


def test_snapshot_is_created_once_and_restored(backend, cinder):
    volume = backend.create(request(size=2 * GIB))
    snapshot = backend.snapshot("s", volume.handle, {"csi.storage.k8s.io/volumesnapshot/name": "daily"})
    assert (snapshot.volume, snapshot.size, snapshot.ready) == (volume.handle, 2 * GIB, True)
    assert backend.snapshot("s", volume.handle, {}) == snapshot == backend.find_snapshot(snapshot.handle)
    assert backend.snapshots() == [snapshot]
    stored = cinder.get_snapshot(snapshot.handle).metadata
    assert stored["csi.storage.k8s.io/volumesnapshot/name"] == "daily"
    restored = backend.create(request("pvc-2", 2 * GIB, source=Source(snapshot=snapshot.handle)))
    assert restored.source == Source(snapshot=snapshot.handle)
    with pytest.raises(SizeOutOfRange, match="has 2 GiB"):
        backend.create(request("pvc-3", GIB, source=Source(snapshot=snapshot.handle)))
    with pytest.raises(Conflict):
        backend.delete(volume.handle)
    backend.delete_snapshot(snapshot.handle)
    backend.delete_snapshot(snapshot.handle)
    backend.delete(volume.handle)


def test_create_clone_waits_for_source(backend):
    volume = backend.create(request(size=2 * GIB))
    clone = backend.create(request("pvc-2", 3 * GIB, source=Source(volume=volume.handle)))
    assert (clone.source.volume, clone.size) == (volume.handle, 3 * GIB)
    for source in (Source(volume="missing"), Source(snapshot="missing")):
        with pytest.raises(NotFound, match="missing"):
            backend.create(request("pvc-3", source=source))


def test_snapshot_impossible_request_is_rejected(backend, cinder):
    volume, other = backend.create(request()), backend.create(request("pvc-2"))
    backend.snapshot("s", volume.handle, {})
    with pytest.raises(NameTaken, match="'s'"):
        backend.snapshot("s", other.handle, {})
    with pytest.raises(NotFound):
        backend.snapshot("t", "missing", {})
    backend.publish(volume.handle, "node-1")
    with pytest.raises(Conflict, match="in use") as caught:
        backend.snapshot("t", volume.handle, {})
    assert "force-create" in caught.value.hint
    assert backend.snapshot("t", volume.handle, {"force-create": "true"}).ready
    cinder.delete(other.handle)
    with pytest.raises(Conflict, match="being deleted"):
        backend.snapshot("u", other.handle, {})


def test_snapshot_that_failed_is_deleted(backend, cinder):
    volume = backend.create(request())
    cinder.failing["create_snapshot"] = "not enough space"
    with pytest.raises(Failed, match="could not create snapshot s: not enough space"):
        backend.snapshot("s", volume.handle, {})
    cinder.failing.clear()
    assert backend.snapshot("s", volume.handle, {}).ready


def test_snapshot_that_is_slow_is_not_ready(cinder, backend):
    volume = backend.create(request())
    cinder.polls = 10_000
    snapshot = backend.snapshot("s", volume.handle, {})
    assert not snapshot.ready
    assert backend.snapshot("s", volume.handle, {}).handle == snapshot.handle


def test_delete_snapshot_that_fails_reports_reason(backend, cinder):
    volume = backend.create(request())
    snapshot = backend.snapshot("s", volume.handle, {})
    cinder.failing["delete_snapshot"] = "a volume needs it"
    with pytest.raises(Failed, match="error_deleting: a volume needs it"):
        backend.delete_snapshot(snapshot.handle)


def test_capacity_is_remaining_quota(backend, cinder):
    backend.create(request(size=10 * GIB, parameters={"type": "fast"}))
    cinder.limits["gigabytes_fast"] = 30
    assert backend.capacity({}, "") == 990 * GIB
    assert backend.capacity({"type": "type-2"}, "nova") == 20 * GIB
    assert backend.capacity({}, "mars") == 0
    with pytest.raises(BadInput, match="'gold'"):
        backend.capacity({"type": "gold"}, "")
    del cinder.limits["gigabytes"], cinder.limits["gigabytes_fast"]
    assert backend.capacity({}, "") is None


def test_waiter_polls_less_often_and_times_out():
    pauses, now = [], [0.0]

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    timeouts = Timeouts(total=10, first=1, longest=3, growth=2, clock=lambda: now[0], sleep=sleep)
    with pytest.raises(TimedOut, match="it is busy after 10 seconds"):
        timeouts.begin().until(lambda: False, bool, "it is busy")
    assert pauses == [1, 2, 3, 3]
    assert Timeouts().total < 60


def test_waiter_limit_is_for_the_whole_call(cinder, backend):
    volume, clock = backend.create(request()), backend.settings.timeouts.clock
    cinder.polls = 20  # half a minute for the snapshot, and again for the volume
    snapshot = cinder.create_snapshot("s", volume.handle, False, {})
    started = clock()
    with pytest.raises(TimedOut):
        backend.create(request("pvc-2", source=Source(snapshot=snapshot.id)))
    assert 40 < clock() - started <= 50
    assert backend.create(request("pvc-2", source=Source(snapshot=snapshot.id))).fault == ""
    assert cinder.calls.count("create") == 2
