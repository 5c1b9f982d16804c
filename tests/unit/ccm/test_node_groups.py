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
from moorage.model.nodes import GROUP_LABEL

pytestmark = pytest.mark.unit

TAINT = {"key": "gpu", "effect": "NoSchedule", "value": "yes"}
RECORD = {"gpu": {"labels": {"disk": "ssd"}, "taints": [TAINT]}}


class World:
    def __init__(self):
        self.api, self.store = MemoryKubernetesClient(), Store()
        self.reconciler = GroupReconciler(self.api, self.store)
        group = NodeGroup("gpu", labels={"disk": "ssd"}, taints=(Taint("gpu", "NoSchedule", "yes"),))
        record_groups(self.api, {"gpu": group_record(group)})
        self.join("one", "gpu")
        self.join("two", "workers")

    def join(self, name, group):
        self.api.create(NODES, {"metadata": {"name": name, "labels": {GROUP_LABEL: group}}, "spec": {}})
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
    return {"metadata": {"labels": {GROUP_LABEL: "gpu", **labels}}, "spec": {"taints": list(taints)}}


def test_nodes_get_what_they_lack_and_others_are_left_alone(world):
    assert world.reconciler.reconcile(ALL) == PERIOD
    assert world.node("one") == ("ssd", [TAINT])
    assert world.node("two") == (None, None)


def test_changed_node_is_restored_at_once(world):
    world.reconciler.reconcile(ALL)
    world.api.patch(NODES, "one", {"metadata": {"labels": {"disk": None}}, "spec": {"taints": None}})
    world.sync()
    assert world.reconciler.reconcile("one") is None
    assert world.node("one") == ("ssd", [TAINT])


def test_node_that_lacks_nothing_is_not_written(world):
    world.reconciler.reconcile(ALL)
    world.sync()
    world.api.calls.clear()
    world.reconciler.reconcile(ALL)
    assert [call for call in world.api.calls if call.startswith("patch")] == []


def test_node_that_changed_meanwhile_is_left_for_its_watch(world):
    world.api.patch(NODES, "one", {"metadata": {"annotations": {"changed": "since"}}})
    world.reconciler.reconcile(ALL)
    assert world.node("one") == (None, None)


def test_deleted_node_is_ignored(world):
    world.reconciler.reconcile(ALL)
    assert world.reconciler.reconcile("gone") is None


def test_group_that_is_no_longer_recorded_keeps_nothing(world):
    record_groups(world.api, {})
    assert recorded_groups(world.api) == {}
    world.reconciler.reconcile(ALL)
    assert world.node("one") == (None, None)


def test_record_that_cannot_be_read_is_logged_and_does_not_stop_the_others(world, caplog):
    broken = {"workers": "{", "more": json.dumps({"labels": 3})}
    world.api.patch(CONFIG_MAPS, "kube-system/moorage-node-groups", {"data": broken})
    with caplog.at_level(logging.WARNING):
        world.reconciler.reconcile(ALL)
    assert world.node("one") == ("ssd", [TAINT])
    assert "node group workers: its record" in caplog.text


def test_own_labels_and_taints_of_node_are_kept():
    other = {"key": "maintenance", "effect": "NoExecute"}
    change = missing(node(other, disk="hdd", zone="a"), RECORD)
    assert change == {"metadata": {"labels": {"disk": "ssd"}}, "spec": {"taints": [other, TAINT]}}


def test_taint_with_other_value_is_replaced_and_same_one_recognized():
    assert missing(node({**TAINT, "value": "no"}, disk="ssd"), RECORD) == {"spec": {"taints": [TAINT]}}
    assert missing(node({**TAINT, "timeAdded": "t"}, disk="ssd"), RECORD) == {}


def test_taint_without_value_is_recognized():
    record = {"gpu": {"labels": {}, "taints": [{"key": "gpu", "effect": "NoSchedule", "value": ""}]}}
    assert missing(node({"key": "gpu", "effect": "NoSchedule"}), record) == {}
