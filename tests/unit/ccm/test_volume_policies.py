"""The policies of PersistentVolumes and VolumeSnapshotContents are written on what they are of in Cinder."""

from __future__ import annotations

import pytest

from moorage.ccm.volumes.marks import Policy, lacking, of_snapshot, of_volume
from moorage.ccm.volumes.reconcile import FRESH, Known, snapshot_policies, volume_policies
from moorage.cloud.memory_volumes import MemoryVolumes
from moorage.cloud.volumes import NewVolume
from moorage.kube.events import Recorder
from moorage.kube.memory_client import MemoryKubernetesClient
from moorage.kube.objects import EVENTS, PERSISTENT_VOLUMES, SNAPSHOT_CONTENTS, key_of
from moorage.kube.store import Store
from moorage.model.errors import CloudUnreachable
from moorage.model.ownership import CINDER_DRIVER, CLUSTER_MARK, RECLAIM_MARK

pytestmark = pytest.mark.unit

MINE = {CLUSTER_MARK: "demo"}


def persistent(name, handle, policy="Delete", made=True, driver=CINDER_DRIVER):
    annotations = {"pv.kubernetes.io/provisioned-by": CINDER_DRIVER} if made else {}
    spec = {"csi": {"driver": driver, "volumeHandle": handle}, "persistentVolumeReclaimPolicy": policy}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


def content(name, handle, policy="Delete", source="volumeHandle", driver=CINDER_DRIVER):
    spec = {"driver": driver, "deletionPolicy": policy, "source": {source: "x"}}
    return {"metadata": {"name": name}, "spec": spec, "status": {"snapshotHandle": handle} if handle else {}}


class World:
    """A Cinder with a volume that the cluster made and one of a person's; an API; the reconcilers between them."""

    def __init__(self):
        self.now = 0.0
        self.api, self.cinder = MemoryKubernetesClient(), MemoryVolumes(polls=0)
        self.api.defined.add(SNAPSHOT_CONTENTS)
        self.volume = self.cinder.create(NewVolume("pvc-1", 1, metadata=MINE)).id
        self.bare = self.cinder.create(NewVolume("bare", 1, metadata={"a": "b"})).id
        self.cinder.list()
        self.snapshot = self.cinder.create_snapshot("s", self.volume, False, MINE).id
        self.restart()
        self.cinder.asked.clear()

    def restart(self):
        self.stores = {PERSISTENT_VOLUMES: Store(), SNAPSHOT_CONTENTS: Store()}
        events = Recorder(self.api, "test", lambda: self.now)
        self.reconcilers = {
            PERSISTENT_VOLUMES: volume_policies(self.stores[PERSISTENT_VOLUMES], self.cinder, "demo", events),
            SNAPSHOT_CONTENTS: snapshot_policies(self.stores[SNAPSHOT_CONTENTS], self.cinder, "demo", events),
        }

    def put(self, resource, wanted):
        key = key_of(wanted)
        if self.api.get(resource, key) is None:
            self.api.create(resource, wanted)
        else:
            self.api.patch(resource, key, wanted)
        return self.turn(resource, key)

    def turn(self, resource, key):
        self.watch()
        return self.reconcilers[resource].reconcile(key)

    def watch(self):
        for resource, store in self.stores.items():
            found = {key_of(o): o for o in self.api.list(resource).items}
            for key in store.keys() - set(found):
                store.drop(key)
            for o in found.values():
                store.put(o)

    def marks(self, id):
        return dict((self.cinder.get(id) or self.cinder.get_snapshot(id)).metadata)

    def writes(self):
        return [call for call in self.cinder.asked if call.startswith("set_")]


@pytest.fixture
def world():
    return World()


def test_retained_volume_is_marked_while_retained(world):
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume))
    assert world.marks(world.volume) == MINE, "to go with its cluster is what needs no word"
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume, "Retain"))
    assert world.marks(world.volume) == {**MINE, RECLAIM_MARK: "Retain"}
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume))
    assert world.marks(world.volume) == {**MINE, RECLAIM_MARK: "Delete"}
    assert world.writes() == ["set_metadata"] * 2


def test_retained_snapshot_is_marked(world):
    world.put(SNAPSHOT_CONTENTS, content("c", world.snapshot, "Retain"))
    assert world.marks(world.snapshot) == {**MINE, RECLAIM_MARK: "Retain"}
    world.put(SNAPSHOT_CONTENTS, content("c", world.snapshot))
    assert world.marks(world.snapshot) == {**MINE, RECLAIM_MARK: "Delete"}


def test_volume_with_deleted_object_stays_marked(world):
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume, "Retain"))
    world.api.delete(PERSISTENT_VOLUMES, "pv")
    assert world.turn(PERSISTENT_VOLUMES, "pv") is None
    assert world.marks(world.volume)[RECLAIM_MARK] == "Retain"


def test_unchanged_volumes_make_no_calls(world):
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume, "Retain"))
    world.cinder.asked.clear()
    world.api.patch(PERSISTENT_VOLUMES, "pv", {"metadata": {"labels": {"x": "y"}}})
    for _ in range(3):
        assert world.turn(PERSISTENT_VOLUMES, "pv") is None
    assert world.cinder.asked == []


def test_start_costs_one_list(world):
    ids = [world.cinder.create(NewVolume(f"pvc-{n}", 1, metadata=MINE)).id for n in range(20)]
    world.cinder.asked.clear()
    for number, id in enumerate(ids):
        world.put(PERSISTENT_VOLUMES, persistent(f"pv-{number}", id))
    assert world.cinder.asked == ["list"]
    world.put(PERSISTENT_VOLUMES, persistent("new", world.cinder.create(NewVolume("new", 1, metadata=MINE)).id))
    assert world.cinder.asked == ["list", "create", "get"]


def test_first_list_expires():
    cinder, now = MemoryVolumes(polls=0), [0.0]
    ids = [cinder.create(NewVolume("v", 1)).id for _ in range(2)]
    known = Known(cinder.list, cinder.get, lambda: now[0])
    assert known.metadata(ids[0]) == {}
    cinder.set_metadata(ids[1], {"a": "b"})
    now[0] = FRESH + 1
    assert known.metadata(ids[1]) == {"a": "b"}
    assert known.metadata("gone") is None


def test_volume_of_cinder_csi_plugin_is_adopted(world):
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.bare))
    assert world.marks(world.bare) == {"a": "b", **MINE}


def test_imported_volume_is_not_adopted(world):
    world.put(PERSISTENT_VOLUMES, persistent("pv", world.bare, "Retain", made=False))
    world.put(SNAPSHOT_CONTENTS, content("c", world.cinder.create_snapshot("t", world.bare, False, {}).id, "Retain",
                                         source="snapshotHandle"))  # fmt: skip
    assert world.writes() == []


def test_other_drivers_and_missing_volumes_are_skipped(world):
    assert world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume, "Retain", driver="nfs.csi.k8s.io")) is None
    assert world.put(SNAPSHOT_CONTENTS, content("c", "", "Retain")) is None
    assert world.put(PERSISTENT_VOLUMES, {"metadata": {"name": "old"}, "spec": {"hostPath": {"path": "/x"}}}) is None
    assert world.cinder.asked == []
    assert world.put(PERSISTENT_VOLUMES, persistent("gone", "no-such-volume", "Retain")) is None
    world.api.patch(SNAPSHOT_CONTENTS, "c", {"status": {"snapshotHandle": world.snapshot}}, status=True)
    world.turn(SNAPSHOT_CONTENTS, "c")
    assert world.marks(world.snapshot)[RECLAIM_MARK] == "Retain"


def test_rejection_is_reported_and_retried(world):
    world.cinder.store.alter(world.volume, lambda volume: type(volume)(**{**vars(volume), "status": "maintenance"}))
    assert world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume, "Retain")) == 10.0
    (event,) = world.api.list(EVENTS).items
    assert (event["reason"], event["involvedObject"]["name"]) == ("ReclaimPolicyNotRecorded", "pv")
    world.cinder.store.alter(world.volume, lambda volume: type(volume)(**{**vars(volume), "status": "available"}))
    assert world.turn(PERSISTENT_VOLUMES, "pv") is None
    assert world.marks(world.volume)[RECLAIM_MARK] == "Retain"


def test_unreachable_cinder_raises(world):
    world.cinder.unreachable = "Cinder does not answer"
    with pytest.raises(CloudUnreachable):
        world.put(PERSISTENT_VOLUMES, persistent("pv", world.volume, "Retain"))
    world.cinder.unreachable = ""
    world.turn(PERSISTENT_VOLUMES, "pv")
    assert world.marks(world.volume)[RECLAIM_MARK] == "Retain"


RETAINED = {**MINE, RECLAIM_MARK: "Retain"}


@pytest.mark.parametrize(
    ("retain", "made", "metadata", "written"),
    [
        (False, True, MINE, {}),
        (True, True, MINE, {RECLAIM_MARK: "Retain"}),
        (True, True, {}, RETAINED),
        (False, True, {}, MINE),
        (False, False, {}, {}),
        (True, False, {}, {}),
        (True, False, MINE, {RECLAIM_MARK: "Retain"}),
        (False, True, RETAINED, {RECLAIM_MARK: "Delete"}),
        (False, False, RETAINED, {}),
        (True, True, RETAINED, {}),
        (True, True, {CLUSTER_MARK: "another"}, {}),
        (False, True, {CLUSTER_MARK: "another", RECLAIM_MARK: "Retain"}, {}),
    ],
)
def test_lacking_returns_missing_metadata(retain, made, metadata, written):
    assert lacking(Policy("id", retain, made), metadata, "demo") == written


def test_policies_of_objects():
    assert of_volume(persistent("pv", "v", "Retain")) == Policy("v", True, True)
    assert of_volume(persistent("pv", "v", "Recycle", made=False)) == Policy("v", False, False)
    assert of_snapshot(content("c", "s", "Retain")) == Policy("s", True, True)
    assert of_snapshot(content("c", "s", source="snapshotHandle")) == Policy("s", False, False)
