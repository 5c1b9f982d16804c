"""The reclaim policies of PersistentVolumes and VolumeSnapshotContents are recorded on their Cinder resources."""

from __future__ import annotations

import pytest

from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.port.volumes import NewVolume
from moorage.csi.cinder.metadata import ReclaimPolicy, missing_metadata, read_snapshot_policy, read_volume_policy
from moorage.csi.cinder.reconcile import FRESH, MetadataCache, snapshot_policies, volume_policies
from moorage.kube.events import Recorder
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import EVENTS, PERSISTENT_VOLUMES, SNAPSHOT_CONTENTS, key_of
from moorage.kube.store import Store
from moorage.model.errors import CloudUnreachable
from moorage.model.ownership import CINDER_DRIVER, CLUSTER_MARK, RECLAIM_MARK

pytestmark = pytest.mark.unit

OWNED = {CLUSTER_MARK: "demo"}


def persistent_volume(name, handle, policy="Delete", provisioned=True, driver=CINDER_DRIVER):
    annotations = {"pv.kubernetes.io/provisioned-by": CINDER_DRIVER} if provisioned else {}
    spec = {"csi": {"driver": driver, "volumeHandle": handle}, "persistentVolumeReclaimPolicy": policy}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


def snapshot_content(name, handle, policy="Delete", source="volumeHandle", driver=CINDER_DRIVER):
    spec = {"driver": driver, "deletionPolicy": policy, "source": {source: "x"}}
    return {"metadata": {"name": name}, "spec": spec, "status": {"snapshotHandle": handle} if handle else {}}


class World:
    """A Cinder with a volume of the cluster and one of a user, a Kubernetes API, and the reconcilers."""

    def __init__(self):
        self.now = 0.0
        self.api, self.cinder = MemoryKubernetesClient(), MemoryVolumes(polls=0)
        self.api.defined.add(SNAPSHOT_CONTENTS)
        self.volume = self.cinder.create(NewVolume("pvc-1", 1, metadata=OWNED)).id
        self.user_volume = self.cinder.create(NewVolume("bare", 1, metadata={"a": "b"})).id
        self.cinder.list()
        self.snapshot = self.cinder.create_snapshot("s", self.volume, False, OWNED).id
        self.restart()
        self.cinder.calls.clear()

    def restart(self):
        self.stores = {PERSISTENT_VOLUMES: Store(), SNAPSHOT_CONTENTS: Store()}
        events = Recorder(self.api, "test", lambda: self.now)
        self.reconcilers = {
            PERSISTENT_VOLUMES: volume_policies(self.stores[PERSISTENT_VOLUMES], self.cinder, "demo", events),
            SNAPSHOT_CONTENTS: snapshot_policies(self.stores[SNAPSHOT_CONTENTS], self.cinder, "demo", events),
        }

    def apply(self, resource, body):
        key = key_of(body)
        if self.api.get(resource, key) is None:
            self.api.create(resource, body)
        else:
            self.api.patch(resource, key, body)
        return self.reconcile(resource, key)

    def reconcile(self, resource, key):
        self.sync_caches()
        return self.reconcilers[resource].reconcile(key)

    def sync_caches(self):
        for resource, store in self.stores.items():
            found = {key_of(o): o for o in self.api.list(resource).items}
            for key in store.keys() - set(found):
                store.drop(key)
            for o in found.values():
                store.put(o)

    def metadata(self, id):
        return dict((self.cinder.get(id) or self.cinder.get_snapshot(id)).metadata)

    def write_calls(self):
        return [call for call in self.cinder.calls if call.startswith("set_")]


@pytest.fixture
def world():
    return World()


def test_volume_policy_changed_updates_metadata(world):
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume))
    assert world.metadata(world.volume) == OWNED, "deletion with the cluster is the default and is not recorded"
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume, "Retain"))
    assert world.metadata(world.volume) == {**OWNED, RECLAIM_MARK: "Retain"}
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume))
    assert world.metadata(world.volume) == {**OWNED, RECLAIM_MARK: "Delete"}
    assert world.write_calls() == ["set_metadata"] * 2


def test_snapshot_policy_changed_updates_metadata(world):
    world.apply(SNAPSHOT_CONTENTS, snapshot_content("c", world.snapshot, "Retain"))
    assert world.metadata(world.snapshot) == {**OWNED, RECLAIM_MARK: "Retain"}
    world.apply(SNAPSHOT_CONTENTS, snapshot_content("c", world.snapshot))
    assert world.metadata(world.snapshot) == {**OWNED, RECLAIM_MARK: "Delete"}


def test_retained_volume_object_deleted_keeps_metadata(world):
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume, "Retain"))
    world.api.delete(PERSISTENT_VOLUMES, "pv")
    assert world.reconcile(PERSISTENT_VOLUMES, "pv") is None
    assert world.metadata(world.volume)[RECLAIM_MARK] == "Retain"


def test_unchanged_policy_calls_no_cinder(world):
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume, "Retain"))
    world.cinder.calls.clear()
    world.api.patch(PERSISTENT_VOLUMES, "pv", {"metadata": {"labels": {"x": "y"}}})
    for _ in range(3):
        assert world.reconcile(PERSISTENT_VOLUMES, "pv") is None
    assert world.cinder.calls == []


def test_start_with_many_volumes_lists_once(world):
    ids = [world.cinder.create(NewVolume(f"pvc-{n}", 1, metadata=OWNED)).id for n in range(20)]
    world.cinder.calls.clear()
    for number, id in enumerate(ids):
        world.apply(PERSISTENT_VOLUMES, persistent_volume(f"pv-{number}", id))
    assert world.cinder.calls == ["list"]
    world.apply(
        PERSISTENT_VOLUMES, persistent_volume("new", world.cinder.create(NewVolume("new", 1, metadata=OWNED)).id)
    )
    assert world.cinder.calls == ["list", "create", "get"]


def test_metadata_cache_expired_list_gets_volume():
    cinder, now = MemoryVolumes(polls=0), [0.0]
    ids = [cinder.create(NewVolume("v", 1)).id for _ in range(2)]
    cache = MetadataCache(cinder.list, cinder.get, lambda: now[0])
    assert cache.metadata(ids[0]) == {}
    cinder.set_metadata(ids[1], {"a": "b"})
    now[0] = FRESH + 1
    assert cache.metadata(ids[1]) == {"a": "b"}
    assert cache.metadata("deleted") is None


def test_volume_of_former_plugin_gets_cluster_metadata(world):
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.user_volume))
    assert world.metadata(world.user_volume) == {"a": "b", **OWNED}


def test_user_created_volume_and_snapshot_get_no_metadata(world):
    world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.user_volume, "Retain", provisioned=False))
    snapshot = world.cinder.create_snapshot("t", world.user_volume, False, {}).id
    world.apply(SNAPSHOT_CONTENTS, snapshot_content("c", snapshot, "Retain", source="snapshotHandle"))
    assert world.write_calls() == []


def test_other_driver_or_missing_volume_is_ignored(world):
    assert (
        world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume, "Retain", driver="nfs.csi.k8s.io"))
        is None
    )
    assert world.apply(SNAPSHOT_CONTENTS, snapshot_content("c", "", "Retain")) is None
    assert world.apply(PERSISTENT_VOLUMES, {"metadata": {"name": "old"}, "spec": {"hostPath": {"path": "/x"}}}) is None
    assert world.cinder.calls == []
    assert world.apply(PERSISTENT_VOLUMES, persistent_volume("missing", "no-such-volume", "Retain")) is None
    world.api.patch(SNAPSHOT_CONTENTS, "c", {"status": {"snapshotHandle": world.snapshot}}, status=True)
    world.reconcile(SNAPSHOT_CONTENTS, "c")
    assert world.metadata(world.snapshot)[RECLAIM_MARK] == "Retain"


def test_refused_metadata_records_event_and_retries(world):
    world.cinder.store.update(world.volume, lambda volume: type(volume)(**{**vars(volume), "status": "maintenance"}))
    assert world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume, "Retain")) == 10.0
    (event,) = world.api.list(EVENTS).items
    assert (event["reason"], event["involvedObject"]["name"]) == ("ReclaimPolicyNotRecorded", "pv")
    world.cinder.store.update(world.volume, lambda volume: type(volume)(**{**vars(volume), "status": "available"}))
    assert world.reconcile(PERSISTENT_VOLUMES, "pv") is None
    assert world.metadata(world.volume)[RECLAIM_MARK] == "Retain"


def test_unreachable_cinder_raises_and_retries(world):
    world.cinder.unreachable = "Cinder does not answer"
    with pytest.raises(CloudUnreachable):
        world.apply(PERSISTENT_VOLUMES, persistent_volume("pv", world.volume, "Retain"))
    world.cinder.unreachable = ""
    world.reconcile(PERSISTENT_VOLUMES, "pv")
    assert world.metadata(world.volume)[RECLAIM_MARK] == "Retain"


RETAINED = {**OWNED, RECLAIM_MARK: "Retain"}


@pytest.mark.parametrize(
    ("retain", "provisioned", "metadata", "expected"),
    [
        (False, True, OWNED, {}),
        (True, True, OWNED, {RECLAIM_MARK: "Retain"}),
        (True, True, {}, RETAINED),
        (False, True, {}, OWNED),
        (False, False, {}, {}),
        (True, False, {}, {}),
        (True, False, OWNED, {RECLAIM_MARK: "Retain"}),
        (False, True, RETAINED, {RECLAIM_MARK: "Delete"}),
        (False, False, RETAINED, {}),
        (True, True, RETAINED, {}),
        (True, True, {CLUSTER_MARK: "another"}, {}),
        (False, True, {CLUSTER_MARK: "another", RECLAIM_MARK: "Retain"}, {}),
    ],
)
def test_missing_metadata_by_policy_and_owner(retain, provisioned, metadata, expected):
    assert missing_metadata(ReclaimPolicy("id", retain, provisioned), metadata, "demo") == expected


def test_read_policy_of_volume_and_snapshot():
    assert read_volume_policy(persistent_volume("pv", "v", "Retain")) == ReclaimPolicy("v", True, True)
    assert read_volume_policy(persistent_volume("pv", "v", "Recycle", provisioned=False)) == ReclaimPolicy(
        "v", False, False
    )
    assert read_snapshot_policy(snapshot_content("c", "s", "Retain")) == ReclaimPolicy("s", True, True)
    assert read_snapshot_policy(snapshot_content("c", "s", source="snapshotHandle")) == ReclaimPolicy("s", False, False)
