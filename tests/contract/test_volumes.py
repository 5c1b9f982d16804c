"""The port of volumes: Cinder with Nova, and the volumes in memory behave the same.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud of the tests' own.
"""

from __future__ import annotations

import uuid

import pytest

import servers
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.volumes import OpenStackVolumes
from moorage.cloud.port.volumes import BUSY, NewVolume
from moorage.model.errors import BadInput, Conflict, NotFound, QuotaExceeded
from waiting import until

pytestmark = [pytest.mark.contract, pytest.mark.cloud, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]


class InMemory:
    def __init__(self):
        self.port = MemoryVolumes()

    def create_server(self):
        id = str(uuid.uuid4())
        self.port.servers.add(id)
        return id

    def delete_server(self, id):
        self.port.servers.discard(id)


class InTheCloud:
    def __init__(self, entry):
        self.rest = Rest.connect(entry)
        self.port = OpenStackVolumes(self.rest)

    def create_server(self):
        return servers.create_server(self.rest)

    def delete_server(self, id):
        servers.delete_server(self.rest, id)


@pytest.fixture(params=["memory", "openstack"])
def storage(request):
    if request.param == "memory":
        return InMemory()
    return InTheCloud(request.getfixturevalue("cloud_entry"))


@pytest.fixture
def port(storage):
    return storage.port


def wait_until_idle(port, id):
    """Wait until no change of the volume is in progress; returns it."""
    return until(lambda: port.get(id), lambda volume: volume is None or volume.status not in BUSY)


def wait_until_snapshot_idle(port, id):
    return until(lambda: port.get_snapshot(id), lambda found: found is None or found.status not in BUSY)


@pytest.fixture
def name():
    return f"pvc-{uuid.uuid4()}"


@pytest.fixture
def create_volume(port):
    """Creates volumes that are deleted after the test, with their snapshots."""
    created = []

    def new(name, size=1, **options):
        volume = port.create(NewVolume(name, size, **options))
        created.append(volume.id)
        return wait_until_idle(port, volume.id)

    yield new
    for id in reversed(created):
        remove(port, id)


def remove(port, id):
    for snapshot in [found for found in port.snapshots() if found.volume == id]:
        port.delete_snapshot(wait_until_snapshot_idle(port, snapshot.id).id)
        wait_until_snapshot_idle(port, snapshot.id)
    if wait_until_idle(port, id) is not None:
        port.delete(id)
        assert wait_until_idle(port, id) is None


@pytest.fixture
def volume(create_volume, name):
    return create_volume(name, metadata={"moorage": "contract"})


@pytest.fixture
def server(storage):
    id = storage.create_server()
    yield id
    storage.delete_server(id)
    assert storage.port.attached(id) is None


def test_volume_is_found_by_id_and_exact_name(port, volume, name):
    assert (volume.name, volume.size, volume.status, volume.attachments) == (name, 1, "available", ())
    assert volume.metadata["moorage"] == "contract"
    assert volume.type in port.types().values()
    assert volume.zone in port.zones()
    assert volume.created_at > 0
    assert port.get(volume.id) == volume
    assert [found.id for found in port.list(name)] == [volume.id]
    assert volume.id in {found.id for found in port.list()}
    assert port.list(name[:-1]) == []


def test_create_twice_gives_two_volumes(port, create_volume, name):
    first, second = create_volume(name), create_volume(name)
    assert first.id != second.id
    assert {found.id for found in port.list(name)} == {first.id, second.id}


def test_delete_volume_twice(port, create_volume, name):
    volume = create_volume(name)
    port.delete(volume.id)
    assert wait_until_idle(port, volume.id) is None
    assert port.list(name) == []
    with pytest.raises(NotFound):
        port.delete(volume.id)


def test_changes_of_unknown_ids_are_not_found(port, server):
    missing = str(uuid.uuid4())
    assert port.get(missing) is None
    assert port.get("no-uuid") is None
    assert port.get_snapshot(missing) is None
    assert port.attached(missing) is None
    for change in (
        lambda: port.delete(missing),
        lambda: port.extend(missing, 2),
        lambda: port.retype(missing, next(iter(port.types().values()))),
        lambda: port.create_snapshot("s", missing, True, {}),
        lambda: port.delete_snapshot(missing),
        lambda: port.set_metadata(missing, {"a": "b"}),
        lambda: port.set_snapshot_metadata(missing, {"a": "b"}),
        lambda: port.attach(server, missing),
        lambda: port.detach(server, missing),
        lambda: port.delete_attachment(missing),
    ):
        with pytest.raises(NotFound):
            change()


def test_create_without_type_uses_default_type(port, volume):
    assert volume.type == port.default_type() != ""
    assert port.default_type() in port.types().values()


def test_create_with_unknown_type_source_or_zone_is_rejected(port, name):
    for request in (
        NewVolume(name, 1, type="no-such-type"),
        NewVolume(name, 1, snapshot=str(uuid.uuid4())),
        NewVolume(name, 1, source=str(uuid.uuid4())),
    ):
        with pytest.raises(NotFound):
            port.create(request)
    with pytest.raises(BadInput, match="no-such-zone"):
        port.create(NewVolume(name, 1, zone="no-such-zone"))
    assert port.list(name) == []


def test_create_beyond_quota_is_rejected(port, name):
    remaining = port.remaining_quota()
    if remaining is None:
        pytest.skip("this project has no quota for volumes")
    with pytest.raises(QuotaExceeded):
        port.create(NewVolume(name, remaining + 1))
    assert port.list(name) == []


def test_create_reduces_remaining_quota(port, name, create_volume):
    before = port.remaining_quota()
    if before is None:
        pytest.skip("this project has no quota for volumes")
    create_volume(name, 2)
    assert port.remaining_quota() == before - 2


def test_extend_grows_and_never_shrinks(port, volume):
    port.extend(volume.id, 3)
    assert wait_until_idle(port, volume.id).size == 3
    with pytest.raises(Conflict):
        port.extend(volume.id, 2)


def test_retype_to_unknown_type_changes_nothing(port, volume):
    with pytest.raises(NotFound, match="no-such-type"):
        port.retype(volume.id, "no-such-type")
    assert wait_until_idle(port, volume.id) == volume


def test_snapshot_blocks_deletion_and_is_a_source(port, volume, create_volume, name):
    pending = port.create_snapshot(f"{name}-s", volume.id, False, {"moorage": "contract"})
    snapshot = wait_until_snapshot_idle(port, pending.id)
    assert (snapshot.name, snapshot.volume, snapshot.size) == (f"{name}-s", volume.id, 1)
    assert snapshot.status == "available"
    assert snapshot.metadata["moorage"] == "contract"
    assert snapshot.created_at > 0
    assert [found.id for found in port.snapshots(f"{name}-s")] == [snapshot.id]
    with pytest.raises(Conflict):
        port.delete(volume.id)
    restored = create_volume(f"{name}-r", snapshot=snapshot.id)
    assert (restored.status, restored.snapshot) == ("available", snapshot.id)
    port.delete_snapshot(snapshot.id)
    assert wait_until_snapshot_idle(port, snapshot.id) is None


def test_set_metadata_adds_and_replaces_keys(port, volume, name):
    snapshot = port.create_snapshot(f"{name}-s", volume.id, False, {"moorage": "contract"})
    for value in ("one", "two"):
        port.set_metadata(volume.id, {"moorage_mark": value})
        assert port.get(volume.id).metadata == {**volume.metadata, "moorage_mark": value}
        port.set_snapshot_metadata(snapshot.id, {"moorage_mark": value})
        assert wait_until_snapshot_idle(port, snapshot.id).metadata == {"moorage": "contract", "moorage_mark": value}
    assert [found.metadata["moorage_mark"] for found in port.list(name)] == ["two"]
    assert [found.metadata["moorage_mark"] for found in port.snapshots(f"{name}-s")] == ["two"]


def test_clone_has_its_source(volume, create_volume, name):
    clone = create_volume(f"{name}-c", 2, source=volume.id)
    assert (clone.status, clone.source, clone.size) == ("available", volume.id, 2)


def test_attached_volume_is_listed_by_both_and_not_deleted(port, volume, server, name):
    assert port.attached(server) == frozenset()
    port.attach(server, volume.id)
    assert volume.id in port.attached(server)
    attached = until(lambda: port.get(volume.id), lambda current: current.status == "in-use")
    assert [attachment.server for attachment in attached.attachments] == [server]
    with pytest.raises(Conflict):
        port.attach(server, volume.id)
    with pytest.raises(Conflict):
        port.delete(volume.id)
    with pytest.raises(Conflict):
        port.create_snapshot(f"{name}-s", volume.id, False, {})
    with pytest.raises(Conflict):
        port.delete_attachment(attached.attachments[0].id)
    port.extend(volume.id, 2)
    assert wait_until_idle(port, volume.id).size == 2
    snapshot = port.create_snapshot(f"{name}-s", volume.id, True, {})
    assert wait_until_snapshot_idle(port, snapshot.id).status == "available"
    port.detach(server, volume.id)
    detached = until(lambda: port.get(volume.id), lambda current: current.status == "available")
    assert detached.attachments == ()
    assert until(lambda: port.attached(server), lambda ids: volume.id not in ids) == frozenset()
    with pytest.raises(NotFound):
        port.detach(server, volume.id)


def test_last_message_without_failure_is_empty(port, volume):
    assert port.last_message(volume.id) == ""
