"""A StorageClass for each Cinder type: names, the default class, and changes by users."""

from __future__ import annotations

import re

import pytest

from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.csi.cinder.classes import DEFAULT, class_name, plan_classes
from moorage.csi.cinder.reconcile import PERIOD, ClassReconciler
from moorage.kube.events import Recorder
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import EVENTS, STORAGE_CLASSES
from moorage.model.errors import CloudUnreachable

pytestmark = pytest.mark.unit

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class World:
    """A Kubernetes API, and a Cinder with the types `files` (the default) and `fast`."""

    def __init__(self):
        self.api, self.cinder = MemoryKubernetesClient(), MemoryVolumes()
        self.restart()

    def restart(self):
        self.reconciler = ClassReconciler(self.api, self.cinder, Recorder(self.api, "test", lambda: 0.0))

    def poll(self):
        assert self.reconciler.reconcile("all") == PERIOD

    def classes(self):
        return {found["metadata"]["name"]: found for found in self.api.list(STORAGE_CLASSES).items}

    def types(self):
        return {name: found["parameters"]["type"] for name, found in self.classes().items()}

    def defaults(self):
        annotations = {name: found["metadata"].get("annotations") or {} for name, found in self.classes().items()}
        return [name for name, given in annotations.items() if given.get(DEFAULT) == "true"]

    def events(self):
        return [(e["involvedObject"]["name"], e["reason"]) for e in self.api.list(EVENTS).items]

    def create_user_class(self, name, type="fast", provisioner="cinder.csi.openstack.org", **metadata):
        body = {"metadata": {"name": name, **metadata}, "provisioner": provisioner, "parameters": {"type": type}}
        self.api.create(STORAGE_CLASSES, body)


@pytest.fixture
def world():
    return World()


def test_new_types_get_classes_and_default_type_the_default_class(world):
    world.poll()
    assert world.types() == {"files": "files", "fast": "fast"}
    assert world.defaults() == ["files"]
    created = world.classes()["fast"]
    assert created["provisioner"] == "cinder.csi.openstack.org"
    assert (created["allowVolumeExpansion"], created["reclaimPolicy"]) == (True, "Delete")
    assert created["volumeBindingMode"] == "WaitForFirstConsumer"
    assert created["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "moorage"}
    assert world.events() == []


def test_unchanged_types_write_nothing(world):
    world.poll()
    world.api.calls.clear()
    world.cinder.calls.clear()
    world.poll()
    world.restart()
    world.poll()
    assert world.api.calls == ["list storageclasses"] * 2
    assert world.cinder.calls == ["types", "default_type"] * 2


def test_new_type_and_deleted_class_get_created(world):
    world.poll()
    world.cinder.type_names["type-3"] = "archive"
    world.api.delete(STORAGE_CLASSES, "fast")
    world.poll()
    assert world.types() == {"files": "files", "fast": "fast", "archive": "archive"}


def test_existing_default_class_is_kept(world):
    world.create_user_class("own", annotations={DEFAULT: "true"})
    world.poll()
    assert world.defaults() == ["own"]


@pytest.mark.parametrize("value", ["false", None])
def test_default_annotation_changed_by_user_is_kept(world, value):
    world.poll()
    world.api.patch(STORAGE_CLASSES, "files", {"metadata": {"annotations": {DEFAULT: value}}})
    world.restart()
    world.poll()
    assert world.defaults() == []


def test_plan_without_default_type_has_no_default_class():
    created = plan_classes({"1": "files"}, "", []).create
    assert [new.body["metadata"].get("annotations") for new in created] == [None]


@pytest.mark.parametrize(
    ("type", "name"),
    [
        ("__DEFAULT__", "cinder"),
        ("fast", "fast"),
        ("Fast SSD", "fast-ssd"),
        ("ceph_gold", "ceph-gold"),
        ("v1.2", "v1.2"),
        ("-a-.-b-", "a.b"),
        ("тип", ""),
        ("x" * 300, "x" * 253),
        ("x" * 252 + "-y", "x" * 252),
    ],
)
def test_class_name_is_valid_in_kubernetes(type, name):
    assert class_name(type) == name
    assert not name or SUBDOMAIN.fullmatch(name)


def test_types_with_same_class_name_get_id_suffix(world):
    world.cinder.type_names = {"11111111-a": "Fast SSD", "22222222-b": "fast-ssd", "33333333-c": "FAST SSD"}
    world.poll()
    assert world.types() == {
        "fast-ssd": "fast-ssd",
        "fast-ssd-11111111": "Fast SSD",
        "fast-ssd-33333333": "FAST SSD",
    }
    assert sorted(world.events()) == [
        ("fast-ssd-11111111", "StorageClassRenamed"),
        ("fast-ssd-33333333", "StorageClassRenamed"),
    ]
    world.poll()
    assert len(world.classes()) == 3


def test_plan_type_without_valid_characters_is_named_by_id():
    (new,) = plan_classes({"11111111-a": "тип"}, "тип", []).create
    assert new.body["metadata"]["name"] == "type-11111111"


def test_name_taken_by_user_class_gets_id_suffix(world):
    world.create_user_class("fast", "other", "nfs.csi.k8s.io")
    world.poll()
    assert world.classes()["fast"]["provisioner"] == "nfs.csi.k8s.io"
    assert world.types()["fast-type-2"] == "fast"
    assert world.events() == [("fast-type-2", "StorageClassRenamed")]


@pytest.mark.parametrize("type", ["fast", "type-2"])
def test_user_class_for_same_type_is_used(world, type):
    world.create_user_class("fast", type)
    world.poll()
    assert world.types() == {"files": "files", "fast": type}
    assert world.events() == []


def test_deleted_type_keeps_class_and_records_one_event(world):
    world.poll()
    world.cinder.type_names.pop("type-2")
    for _ in range(3):
        world.poll()
    assert "fast" in world.classes()
    (event,) = world.api.list(EVENTS).items
    assert (event["reason"], event["count"]) == ("VolumeTypeDeleted", 1)
    assert "no volume type 'fast'" in event["message"]
    world.cinder.type_names["type-4"] = "fast"
    world.poll()
    assert world.types() == {"files": "files", "fast": "fast"}
    world.cinder.type_names.pop("type-4")
    world.poll()
    assert world.api.list(EVENTS).items[0]["count"] == 1, "the recorder writes the same message once a minute"


def test_unreachable_cinder_raises_and_creates_nothing(world):
    world.cinder.unreachable = "Cinder does not answer"
    with pytest.raises(CloudUnreachable):
        world.poll()
    assert world.classes() == {}


def test_class_created_meanwhile_is_no_error(world):
    original = world.api.list

    def list_before_concurrent_create(resource):
        found = original(resource)
        world.create_user_class("fast")
        world.api.list = original
        return found

    world.api.list = list_before_concurrent_create
    world.poll()
    assert set(world.types()) == {"files", "fast"}
