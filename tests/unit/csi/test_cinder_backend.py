"""The backend on Cinder: what it makes of requests, and what it says when that cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.memory_volumes import MemoryVolumes
from moorage.cloud.volumes import NewVolume
from moorage.csi.backend import NameTaken, Source, VolumeRequest
from moorage.csi.cinder.backend import CinderBackend
from moorage.csi.cinder.waiter import Timeouts
from moorage.csi.size import GIB, SizeOutOfRange
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, Failed, NotFound, QuotaExceeded, TimedOut
from still import backend_on

pytestmark = pytest.mark.unit

CLAIM = {"csi.storage.k8s.io/pvc/name": "data", "type": "fast"}


@pytest.fixture
def cinder():
    return MemoryVolumes(servers={"node-1", "node-2"}, polls=2)


@pytest.fixture
def backend(cinder):
    return backend_on(cinder)


def request(name="pvc-1", size=GIB, **words):
    return VolumeRequest(name, size, **words)


def test_create_sets_type_zone_and_owner(backend, cinder):
    made = backend.create(request(size=GIB + 1, parameters=CLAIM, zone="nova"))
    assert (made.size, made.zone, made.nodes, made.fault) == (2 * GIB, "nova", (), "")
    kept = cinder.get(made.handle)
    assert (kept.name, kept.type, kept.status) == ("pvc-1", "fast", "available")
    assert kept.metadata == {
        "csi.storage.k8s.io/pvc/name": "data",
        "cinder.csi.openstack.org/cluster": "demo",
        "moorage_cluster": "demo",
    }


def test_create_again_returns_same_volume(backend, cinder):
    assert backend.create(request()) == backend.create(request())
    assert cinder.calls.count("create") == 1


def test_create_with_type_by_id(backend, cinder):
    made = backend.create(request(parameters={"type": "type-2"}))
    assert cinder.get(made.handle).type == "fast"
    assert backend.create(request(parameters={"type": "type-2"})) == made
    assert backend.create(request(parameters={"type": "fast"})) == made


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
    made = backend.create(request(zone="nova", parameters={"availability": "west"}))
    assert made.zone == "west"


def test_create_with_any_zone_requests_no_zone(cinder, backend):
    any_zone = CinderBackend(cinder, replace(backend.settings, zones=False))
    assert any_zone.create(request(zone="mars")).zone == ""
    assert any_zone.capacity({}, "mars") == 999 * GIB


def test_create_beyond_quota_creates_nothing(backend, cinder):
    with pytest.raises(QuotaExceeded, match="1000 gigabytes"):
        backend.create(request(size=1001 * GIB))
    assert backend.volumes() == []


def test_failed_volume_is_deleted_and_next_attempt_starts_again(backend, cinder):
    cinder.failing["create"] = "no host has that much room"
    with pytest.raises(Failed, match="could not create volume pvc-1: no host has that much room"):
        backend.create(request())
    assert cinder.list("pvc-1")[0].status == "deleting"
    cinder.failing.clear()
    assert backend.create(request()).fault == ""
    assert [volume.name for volume in backend.volumes()] == ["pvc-1"]


def test_failure_without_messages_is_reported(backend, cinder, monkeypatch):
    def none(id):
        raise BadInput("Cinder refused: Version 3.5 is not supported by the API")

    monkeypatch.setattr(cinder, "last_message", none)
    cinder.failing["create"] = "why"
    with pytest.raises(Failed, match=r"could not create volume pvc-1$"):
        backend.create(request())
    assert cinder.list("pvc-1")[0].status == "deleting"


def test_unpublish_deleted_attachment_does_nothing(backend, cinder, monkeypatch):
    made = backend.create(request())
    backend.publish(made.handle, "node-1")
    cinder.servers.discard("node-1")
    held = cinder.get(made.handle)
    cinder.delete_attachment(held.attachments[0].id)
    monkeypatch.setattr(cinder, "get", lambda id: held)
    backend.unpublish(made.handle, "node-1")
    assert cinder.calls.count("delete_attachment") == 2


def test_failed_foreign_volume_is_kept(backend, cinder):
    cinder.failing["create"] = "why"
    theirs = cinder.create(NewVolume("pvc-1", 1))
    with pytest.raises(NameTaken, match="in error and not this cluster's"):
        backend.create(request())
    assert cinder.get(theirs.id).status == "error"


def test_slow_creation_times_out_and_is_found_again(cinder, backend):
    cinder.polls = 10_000
    with pytest.raises(TimedOut, match="busy after 50 seconds"):
        backend.create(request())
    cinder.store.put(replace(cinder.store.peek_all()[0], status="available"))
    assert backend.create(request()).name == "pvc-1"
    assert cinder.calls.count("create") == 1


def test_unresponsive_cinder_is_reported(backend, cinder):
    cinder.unreachable = "Cinder of the cloud 'mine' does not answer"
    for call in (lambda: backend.create(request()), lambda: backend.volumes(), lambda: backend.publish("v", "node-1")):
        with pytest.raises(CloudUnreachable):
            call()


def test_volume_in_error_has_fault(backend, cinder):
    made = backend.create(request())
    cinder.store.put(replace(cinder.get(made.handle), status="error_extending"))
    assert backend.volume(made.handle).fault == "Cinder has it in status error_extending"


def test_delete_attached_volume_conflicts(backend, cinder):
    made = backend.create(request())
    backend.publish(made.handle, "node-1")
    with pytest.raises(Conflict, match="attached to server node-1"):
        backend.delete(made.handle)
    backend.unpublish(made.handle, "node-1")
    backend.delete(made.handle)
    backend.delete(made.handle)
    assert backend.volume(made.handle) is None
    assert cinder.calls.count("delete") == 1


def test_failed_deletion_reports_reason(backend, cinder):
    made = backend.create(request())
    cinder.failing["delete"] = "the backend is away"
    with pytest.raises(Failed, match="status error_deleting: the backend is away"):
        backend.delete(made.handle)


def test_publish_attaches_once_and_to_one_node(backend, cinder):
    made = backend.create(request())
    assert backend.publish(made.handle, "node-1") == {}
    backend.publish(made.handle, "node-1")
    assert cinder.calls.count("attach") == 1
    assert backend.volume(made.handle).nodes == ("node-1",)
    with pytest.raises(Conflict, match="attached to server node-1"):
        backend.publish(made.handle, "node-2")
    backend.unpublish(made.handle, "node-2")
    backend.unpublish(made.handle, "node-1")
    backend.unpublish(made.handle, "node-1")
    assert cinder.calls.count("detach") == 1
    backend.publish(made.handle, "node-2")
    assert backend.volume(made.handle).nodes == ("node-2",)


def test_publish_waits_for_detachment_elsewhere(backend, cinder):
    made = backend.create(request())
    backend.publish(made.handle, "node-1")
    cinder.detach("node-1", made.handle)
    backend.publish(made.handle, "node-2")
    assert backend.volume(made.handle).nodes == ("node-2",)


def test_publish_missing_is_not_found_and_unpublish_does_nothing(backend):
    made = backend.create(request())
    with pytest.raises(NotFound, match="no volume gone"):
        backend.publish("gone", "node-1")
    with pytest.raises(NotFound, match="no server gone"):
        backend.publish(made.handle, "gone")
    backend.unpublish("gone", "node-1")
    backend.unpublish(made.handle, "gone")


def test_publish_to_full_node_is_reported(backend, cinder):
    cinder.max_disks = 1
    first, second = backend.create(request("a")), backend.create(request("b"))
    backend.publish(first.handle, "node-1")
    with pytest.raises(QuotaExceeded, match="node-1 has as many disks as it can") as caught:
        backend.publish(second.handle, "node-1")
    assert "add a node" in caught.value.hint
    backend.publish(second.handle, "node-2")


def test_failed_attachment_is_reported_and_retried(backend, cinder):
    made = backend.create(request())
    cinder.failing["attach"] = "the host does not answer"
    with pytest.raises(Failed, match="to server node-1: the host does not answer"):
        backend.publish(made.handle, "node-1")
    cinder.failing.clear()
    backend.publish(made.handle, "node-1")
    assert backend.volume(made.handle).nodes == ("node-1",)


def test_failed_detachment_is_retried(backend, cinder):
    made = backend.create(request())
    backend.publish(made.handle, "node-1")
    cinder.failing["detach"] = "the guest holds it"
    with pytest.raises(TimedOut, match="still attached to server node-1"):
        backend.unpublish(made.handle, "node-1")
    cinder.failing.clear()
    backend.unpublish(made.handle, "node-1")
    assert backend.volume(made.handle).nodes == ()


def test_unpublish_from_deleted_server_releases_volume(backend, cinder):
    made = backend.create(request())
    backend.publish(made.handle, "node-1")
    cinder.servers.discard("node-1")
    backend.unpublish(made.handle, "node-1")
    backend.publish(made.handle, "node-2")
    assert backend.volume(made.handle).nodes == ("node-2",)


@pytest.mark.parametrize("attached", [False, True])
def test_expand_grows_in_use_to_required_size(backend, cinder, attached):
    made = backend.create(request())
    if attached:
        backend.publish(made.handle, "node-1")
    assert backend.expand(made.handle, 2 * GIB + 1).size == 3 * GIB
    assert backend.expand(made.handle, 2 * GIB).size == 3 * GIB
    assert cinder.calls.count("extend") == 1


def test_expand_that_fails_is_reported(backend, cinder):
    made = backend.create(request())
    with pytest.raises(NotFound):
        backend.expand("gone", GIB)
    with pytest.raises(QuotaExceeded):
        backend.expand(made.handle, 2000 * GIB)
    cinder.failing["extend"] = "no room"
    with pytest.raises(Failed, match="to 2 GiB: no room"):
        backend.expand(made.handle, 2 * GIB)


def test_modify_changes_type_once(backend, cinder):
    made = backend.create(request())
    for _ in range(2):
        backend.modify(made.handle, {"type": "type-2"})
    backend.modify(made.handle, {})
    assert cinder.get(made.handle).type == "fast"
    assert cinder.calls.count("retype") == 1
    with pytest.raises(BadInput, match="'gold'"):
        backend.modify(made.handle, {"type": "gold"})
    with pytest.raises(NotFound):
        backend.modify("gone", {"type": "fast"})
    cinder.failing["retype"] = "not between these"
    with pytest.raises(Failed, match="the type files: not between these"):
        backend.modify(made.handle, {"type": "files"})


def test_snapshot_is_created_once_and_restored(backend, cinder):
    made = backend.create(request(size=2 * GIB))
    taken = backend.snapshot("s", made.handle, {"csi.storage.k8s.io/volumesnapshot/name": "daily"})
    assert (taken.volume, taken.size, taken.ready) == (made.handle, 2 * GIB, True)
    assert backend.snapshot("s", made.handle, {}) == taken == backend.find_snapshot(taken.handle)
    assert backend.snapshots() == [taken]
    kept = cinder.get_snapshot(taken.handle).metadata
    assert kept["csi.storage.k8s.io/volumesnapshot/name"] == "daily"
    restored = backend.create(request("pvc-2", 2 * GIB, source=Source(snapshot=taken.handle)))
    assert restored.source == Source(snapshot=taken.handle)
    with pytest.raises(SizeOutOfRange, match="has 2 GiB"):
        backend.create(request("pvc-3", GIB, source=Source(snapshot=taken.handle)))
    with pytest.raises(Conflict):
        backend.delete(made.handle)
    backend.delete_snapshot(taken.handle)
    backend.delete_snapshot(taken.handle)
    backend.delete(made.handle)


def test_clone_waits_for_source(backend):
    made = backend.create(request(size=2 * GIB))
    clone = backend.create(request("pvc-2", 3 * GIB, source=Source(volume=made.handle)))
    assert (clone.source.volume, clone.size) == (made.handle, 3 * GIB)
    for source in (Source(volume="gone"), Source(snapshot="gone")):
        with pytest.raises(NotFound, match="gone"):
            backend.create(request("pvc-3", source=source))


def test_impossible_snapshot_is_rejected(backend, cinder):
    made, other = backend.create(request()), backend.create(request("pvc-2"))
    backend.snapshot("s", made.handle, {})
    with pytest.raises(NameTaken, match="'s'"):
        backend.snapshot("s", other.handle, {})
    with pytest.raises(NotFound):
        backend.snapshot("t", "gone", {})
    backend.publish(made.handle, "node-1")
    with pytest.raises(Conflict, match="in use") as caught:
        backend.snapshot("t", made.handle, {})
    assert "force-create" in caught.value.hint
    assert backend.snapshot("t", made.handle, {"force-create": "true"}).ready
    cinder.delete(other.handle)
    with pytest.raises(Conflict, match="being deleted"):
        backend.snapshot("u", other.handle, {})


def test_failed_snapshot_is_deleted(backend, cinder):
    made = backend.create(request())
    cinder.failing["create_snapshot"] = "no room"
    with pytest.raises(Failed, match="could not create snapshot s: no room"):
        backend.snapshot("s", made.handle, {})
    cinder.failing.clear()
    assert backend.snapshot("s", made.handle, {}).ready


def test_slow_snapshot_is_not_ready(cinder, backend):
    made = backend.create(request())
    cinder.polls = 10_000
    taken = backend.snapshot("s", made.handle, {})
    assert not taken.ready
    assert backend.snapshot("s", made.handle, {}).handle == taken.handle


def test_failed_snapshot_deletion_reports_reason(backend, cinder):
    made = backend.create(request())
    taken = backend.snapshot("s", made.handle, {})
    cinder.failing["delete_snapshot"] = "a volume needs it"
    with pytest.raises(Failed, match="error_deleting: a volume needs it"):
        backend.delete_snapshot(taken.handle)


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
    with pytest.raises(TimedOut, match="it sleeps after 10 seconds"):
        timeouts.begin().until(lambda: False, bool, "it sleeps")
    assert pauses == [1, 2, 3, 3]
    assert Timeouts().total < 60


def test_waiter_limit_is_for_the_whole_call(cinder, backend):
    made, clock = backend.create(request()), backend.settings.timeouts.clock
    cinder.polls = 20  # half a minute for the snapshot, and again for the volume
    taken = cinder.create_snapshot("s", made.handle, False, {})
    began = clock()
    with pytest.raises(TimedOut):
        backend.create(request("pvc-2", source=Source(snapshot=taken.id)))
    assert 40 < clock() - began <= 50
    assert backend.create(request("pvc-2", source=Source(snapshot=taken.id))).fault == ""
    assert cinder.calls.count("create") == 2
