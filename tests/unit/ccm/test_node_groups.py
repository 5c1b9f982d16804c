"""Labels and taints of node groups, which are kept on their Nodes."""

from __future__ import annotations

import json
import logging

import pytest

from moorage.ccm.nodes.groups import ALL, PERIOD, GroupReconciler, missing
from moorage.clusters.kubernetes import group_record, record_groups, recorded_groups
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import CONFIG_MAPS, NODES
from moorage.kube.store import Store
from moorage.model.cluster import NodeGroup, Taint
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

TAINT = {"key": "gpu", "effect": "NoSchedule", "value": "yes"}
RECORD = {"demo-gpu-1": {"labels": {"disk": "ssd"}, "taints": [TAINT]}}


class World:
    def __init__(self):
        self.api, self.store = MemoryKubernetesClient(), Store()
        self.reconciler = GroupReconciler(self.api, self.store)
        group = NodeGroup("gpu", labels={"disk": "ssd"}, taints=(Taint("gpu", "NoSchedule", "yes"),))
        record_groups(self.api, {"demo-gpu-1": group_record(group)})
        self.join("demo-gpu-1-0")
        self.join("demo-workers-1-0")

    def join(self, name):
        self.api.create(NODES, {"metadata": {"name": name, "labels": {}}, "spec": {}})
        self.sync()

    def sync(self):
        for node in self.api.list(NODES).items:
            self.store.put(node)

    def node(self, name):
        node = self.api.get(NODES, name)
        return node["metadata"]["labels"].get("disk"), node["spec"].get("taints")


@pytest.fixture
def world():
    return World()


def node(*taints, **labels):
    return {"metadata": {"name": "demo-gpu-1-0", "labels": labels}, "spec": {"taints": list(taints)}}


def test_nodes_get_what_they_lack_and_others_are_left_alone(world):
    assert world.reconciler.reconcile(ALL) == PERIOD
    assert world.node("demo-gpu-1-0") == ("ssd", [TAINT])
    assert world.node("demo-workers-1-0") == (None, None)


def test_changed_node_is_restored_at_once(world):
    world.reconciler.reconcile(ALL)
    world.api.patch(NODES, "demo-gpu-1-0", {"metadata": {"labels": {"disk": None}}, "spec": {"taints": None}})
    world.sync()
    assert world.reconciler.reconcile("demo-gpu-1-0") is None
    assert world.node("demo-gpu-1-0") == ("ssd", [TAINT])


def test_node_that_lacks_nothing_is_not_written(world):
    world.reconciler.reconcile(ALL)
    world.sync()
    world.api.calls.clear()
    world.reconciler.reconcile(ALL)
    assert [call for call in world.api.calls if call.startswith("patch")] == []


def test_node_that_changed_meanwhile_is_left_for_its_watch(world):
    world.api.patch(NODES, "demo-gpu-1-0", {"metadata": {"annotations": {"changed": "since"}}})
    world.reconciler.reconcile(ALL)
    assert world.node("demo-gpu-1-0") == (None, None)


def test_other_revision_of_the_group_is_left_alone(world):
    world.join("demo-gpu-2-0")
    world.reconciler.reconcile(ALL)
    assert world.node("demo-gpu-2-0") == (None, None)


def test_node_that_the_api_refuses_does_not_stop_the_others(world, caplog):
    refused = {"labels": {"disk": "ssd"}, "taints": []}
    world.api.patch(CONFIG_MAPS, "kube-system/moorage-node-groups", {"data": {"demo-a-1": json.dumps(refused)}})
    world.join("demo-a-1-0")
    patch = world.api.patch

    def refuse(resource, key, change, **words):
        if key == "demo-a-1-0":
            raise BadInput("not a label")
        return patch(resource, key, change, **words)

    world.api.patch = refuse
    with caplog.at_level(logging.WARNING):
        world.reconciler.reconcile(ALL)
    assert world.node("demo-gpu-1-0") == ("ssd", [TAINT])
    assert "node demo-a-1-0: its labels and taints are refused" in caplog.text


def test_deleted_node_is_ignored(world):
    world.reconciler.reconcile(ALL)
    assert world.reconciler.reconcile("gone") is None


def test_group_that_is_no_longer_recorded_keeps_nothing(world):
    record_groups(world.api, {})
    assert recorded_groups(world.api) == {}
    world.reconciler.reconcile(ALL)
    assert world.node("demo-gpu-1-0") == (None, None)


def test_record_that_cannot_be_read_is_logged_and_does_not_stop_the_others(world, caplog):
    broken = {"demo-workers-1": "{", "a": json.dumps({"labels": 3}), "b": '{"labels": {}, "taints": [{"key": "k"}]}'}
    world.api.patch(CONFIG_MAPS, "kube-system/moorage-node-groups", {"data": broken})
    with caplog.at_level(logging.WARNING):
        world.reconciler.reconcile(ALL)
    assert world.node("demo-gpu-1-0") == ("ssd", [TAINT])
    assert "nodes of demo-workers-1: their record" in caplog.text


def test_own_labels_and_taints_of_node_are_kept():
    other = {"key": "maintenance", "effect": "NoExecute"}
    change = missing(node(other, disk="hdd", zone="a"), RECORD)
    assert change == {"metadata": {"labels": {"disk": "ssd"}}, "spec": {"taints": [other, TAINT]}}


def test_taint_with_other_value_is_replaced_and_same_one_recognized():
    assert missing(node({**TAINT, "value": "no"}, disk="ssd"), RECORD) == {"spec": {"taints": [TAINT]}}
    assert missing(node({**TAINT, "timeAdded": "t"}, disk="ssd"), RECORD) == {}


def test_taint_without_value_is_recognized():
    record = {"demo-gpu-1": {"labels": {}, "taints": [{"key": "gpu", "effect": "NoSchedule", "value": ""}]}}
    assert missing(node({"key": "gpu", "effect": "NoSchedule"}), record) == {}
