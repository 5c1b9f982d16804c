"""Nodes in memory: what comes of them when servers come, stop and go, and when the cloud is away."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from moorage.ccm.nodes.identity import Place
from moorage.ccm.nodes.plan import OUT_OF_SERVICE, SHUTDOWN, UNINITIALIZED
from moorage.ccm.nodes.reconcile import PERIOD, NodeReconciler, ServerPoll
from moorage.ccm.nodes.view import ServerView
from moorage.cloud.memory_servers import MemoryInstances
from moorage.cloud.servers import Address, Instance
from moorage.kube.events import Recorder
from moorage.kube.memory_client import MemoryKubernetesClient
from moorage.kube.objects import EVENTS, NODES, PODS
from moorage.kube.store import Store
from moorage.model.errors import CloudUnreachable

pytestmark = pytest.mark.unit


def server(number, name=None):
    words = {"addresses": (Address("fixed", f"10.0.0.{number}"),), "metadata": {"moorage_cluster": "demo"}}
    return Instance(f"id-{number}", name or f"demo-{number}", "ACTIVE", "m1.node", "nova", **words)


class World:
    """A cluster of nodes 1 and 2 on servers, a cloud, and the reconcilers between them."""

    def __init__(self):
        self.now = 0.0
        self.api, self.cloud = MemoryKubernetesClient(), MemoryInstances([server(1), server(2)])
        self.store, self.woken = Store(), []
        self.view = ServerView(self.cloud, "demo", Place("R"), lambda: self.now)
        events = Recorder(self.api, "test", lambda: self.now)
        self.nodes = NodeReconciler(self.api, self.store, self.view, events)
        self.poll = ServerPoll(self.store, self.view, events, self.woken.append)
        for number in (1, 2):
            self.join(f"demo-{number}")

    def join(self, name):
        taint = {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
        self.api.create(NODES, {"metadata": {"name": name}, "spec": {"taints": [taint]}})

    def watch(self):
        for key in [node["metadata"]["name"] for node in self.store.all()]:
            self.store.drop(key)
        for node in self.api.list(NODES).items:
            self.store.put(node)

    def round(self):
        """One poll, and the nodes that it woke; the cache as true as can be."""
        self.watch()
        self.woken.clear()
        assert self.poll.reconcile("all") == PERIOD
        again = {name: self.nodes.reconcile(name) for name in self.woken}
        self.watch()
        self.now += PERIOD
        return again

    def node(self, name):
        return self.api.get(NODES, name)

    def events(self):
        return [(e["involvedObject"]["name"], e["reason"]) for e in self.api.list(EVENTS).items]

    def taints(self, name):
        return [taint["key"] for taint in self.node(name)["spec"].get("taints", [])]


@pytest.fixture
def world():
    world = World()
    world.round()
    return world


def test_nodes_are_initialized_with_one_call(world):
    assert [world.node(f"demo-{n}")["spec"]["providerID"] for n in (1, 2)] == ["openstack:///id-1", "openstack:///id-2"]
    assert world.taints("demo-1") == []
    assert world.cloud.asked == ["list"]


def test_unchanged_nodes_cost_one_list_and_no_write(world):
    world.cloud.asked.clear()
    world.api.asked.clear()
    for _ in range(3):
        assert world.round() == {}
    assert world.cloud.asked == ["list"] * 3
    assert {call.split()[0] for call in world.api.asked} == {"list"}


def test_node_joining_between_lists_is_initialized_at_once(world):
    world.cloud.servers["id-3"] = server(3)
    world.join("demo-3")
    world.watch()
    assert world.nodes.reconcile("demo-3") is None
    assert world.node("demo-3")["spec"]["providerID"] == "openstack:///id-3"


def test_node_of_recreated_server_gets_new_provider_id(world):
    """The last list is some seconds old: it has the former one, under the same name."""
    world.now -= PERIOD / 2
    world.api.delete(NODES, "demo-1")
    del world.cloud.servers["id-1"]
    world.cloud.servers["id-3"] = server(3, "demo-1")
    world.join("demo-1")
    world.watch()
    world.nodes.reconcile("demo-1")
    assert world.node("demo-1")["spec"]["providerID"] == "openstack:///id-3"


def test_many_joining_nodes_cost_one_list(world):
    for number in range(3, 30):
        world.cloud.servers[f"id-{number}"] = server(number)
        world.join(f"demo-{number}")
    world.watch()
    world.cloud.asked.clear()
    for number in range(3, 30):
        world.nodes.reconcile(f"demo-{number}")
    assert world.cloud.asked == ["list"]
    assert world.taints("demo-29") == []


def test_stopped_and_started_server_sets_and_removes_taint(world):
    world.cloud.becomes("id-1", "SHUTOFF")
    world.round()
    assert (world.taints("demo-1"), world.taints("demo-2")) == ([SHUTDOWN], [])
    world.cloud.becomes("id-1", "ACTIVE")
    world.round()
    assert world.taints("demo-1") == []


def test_deleted_server_deletes_its_node_only(world):
    del world.cloud.servers["id-1"]
    world.cloud.asked.clear()
    world.round()
    assert world.node("demo-1") is None
    assert world.node("demo-2") is not None
    assert world.cloud.asked == ["list", "get"], "its server is asked for alone before the node is deleted"
    assert ("demo-1", "ServerGone") in world.events()


def test_incomplete_list_deletes_nothing(world):
    world.cloud.unlisted = {"id-1"}
    world.round()
    assert world.node("demo-1") is not None
    assert world.taints("demo-1") == []


def test_empty_list_deletes_nothing(world):
    """As the credentials of another project make it."""
    world.cloud.servers.clear()
    world.cloud.asked.clear()
    world.round()
    world.nodes.reconcile("demo-1")
    assert world.node("demo-1") is not None
    assert world.cloud.asked == ["list"]
    assert ("kube-system", "CloudUnreachable") in world.events()


def test_unreachable_cloud_is_reported_once_and_changes_nothing(world):
    before = [world.node(f"demo-{n}") for n in (1, 2)]
    world.cloud.unreachable = "Nova does not answer"
    del world.cloud.servers["id-1"]
    for _ in range(5):
        assert world.round() == {}
    assert [world.node(f"demo-{n}") for n in (1, 2)] == before
    assert world.events() == [("kube-system", "CloudUnreachable")]
    world.cloud.unreachable = ""
    world.round()
    assert world.node("demo-1") is None


def test_cloud_unreachable_after_list_deletes_nothing(world):
    world.cloud.unlisted = {"id-1"}
    world.view.refresh()
    world.cloud.unreachable = "Nova does not answer"
    assert world.nodes.reconcile("demo-1") == 10.0
    assert world.node("demo-1") is not None
    assert ("demo-1", "CloudUnknown") in world.events()


def test_node_joining_while_cloud_is_unreachable_waits(world):
    world.cloud.unreachable = "Nova does not answer"
    world.round()
    world.join("demo-3")
    world.watch()
    assert world.nodes.reconcile("demo-3") == 10.0
    assert world.taints("demo-3") == [UNINITIALIZED]


def test_start_while_cloud_is_unreachable():
    world = World()
    world.cloud.unreachable = "Keystone does not answer"
    world.watch()
    assert world.nodes.reconcile("demo-1") == 10.0
    assert world.taints("demo-1") == [UNINITIALIZED]
    world.cloud.unreachable = ""
    world.round()
    assert world.taints("demo-1") == []


def test_foreign_node_is_ignored_and_reported(world):
    world.join("visitor")
    world.watch()
    assert world.nodes.reconcile("visitor") == 10.0
    assert world.taints("visitor") == [UNINITIALIZED]
    assert ("visitor", "NoServer") in world.events()


def test_two_servers_of_one_name_are_ambiguous(world):
    world.cloud.servers |= {f"id-{n}": server(n, "demo-twin") for n in (8, 9)}
    world.join("demo-twin")
    world.round()
    assert world.taints("demo-twin") == [UNINITIALIZED]
    assert ("demo-twin", "CloudUnknown") in world.events()


def test_node_changed_meanwhile_is_reconciled_again(world):
    world.cloud.becomes("id-1", "SHUTOFF")
    world.view.refresh()
    mine = {"key": "mine", "effect": "NoExecute"}
    world.api.patch(NODES, "demo-1", {"spec": {"taints": [mine]}})
    assert world.nodes.reconcile("demo-1") == 0.5
    assert world.taints("demo-1") == ["mine"], "what somebody else wrote is not lost"
    world.watch()
    world.nodes.reconcile("demo-1")
    assert world.taints("demo-1") == ["mine", SHUTDOWN]


def test_new_node_of_same_name_is_not_deleted(world):
    world.watch()
    del world.cloud.servers["id-1"]
    world.view.refresh()
    world.api.delete(NODES, "demo-1")
    world.join("demo-1")
    assert world.nodes.reconcile("demo-1") == 0.5
    assert world.node("demo-1") is not None


def test_unreachable_api_raises(world):
    world.cloud.becomes("id-1", "SHUTOFF")
    world.view.refresh()
    world.api.unreachable = "etcd has no leader"
    with pytest.raises(CloudUnreachable):
        world.nodes.reconcile("demo-1")


def test_node_in_deletion_is_ignored(world):
    world.api.patch(NODES, "demo-1", {"metadata": {"finalizers": ["x/y"]}})
    world.api.delete(NODES, "demo-1")
    world.watch()
    world.cloud.becomes("id-1", "SHUTOFF")
    world.view.refresh()
    assert world.nodes.reconcile("demo-1") is None
    assert world.taints("demo-1") == []
    assert world.nodes.reconcile("nobody") is None


def pod(api, name, node):
    api.create(PODS, {"metadata": {"namespace": "default", "name": name}, "spec": {"nodeName": node}})


def test_pods_of_deleted_server_are_deleted(world):
    pod(world.api, "lost", "demo-1")
    pod(world.api, "well", "demo-2")
    del world.cloud.servers["id-1"]
    world.round()
    assert world.node("demo-1") is None
    assert [one["metadata"]["name"] for one in world.api.list(PODS).items] == ["well"]


def test_volumes_of_deleted_server_are_released_before_its_node(world):
    world.api.patch(NODES, "demo-1", {"status": {"volumesInUse": ["kubernetes.io/csi/x"]}}, status=True)
    del world.cloud.servers["id-1"]
    world.api.asked.clear()
    world.round()
    assert [call for call in world.api.asked if call.split()[0] in ("patch", "delete")] == [
        "patch nodes",
        "delete nodes",
    ]
    assert world.node("demo-1") is None


def test_pods_of_stopped_server_move_once_kubelet_is_unresponsive(world):
    def heartbeat(status):
        world.api.patch(NODES, "demo-1", {"status": {"conditions": [{"type": "Ready", "status": status}]}}, status=True)

    heartbeat("True")
    world.cloud.becomes("id-1", "SHUTOFF")
    world.round()
    assert world.taints("demo-1") == [SHUTDOWN], "it may be about to start again"
    heartbeat("Unknown")
    world.round()
    assert world.taints("demo-1") == [SHUTDOWN, OUT_OF_SERVICE["key"]]
    world.api.asked.clear()
    world.round()
    assert {call.split()[0] for call in world.api.asked} == {"list"}, "nothing is written again"
    world.cloud.becomes("id-1", "ACTIVE")
    world.round()
    assert world.taints("demo-1") == []


def test_unresponsive_node_with_running_server_is_not_tainted(world):
    world.api.patch(NODES, "demo-1", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, status=True)
    pod(world.api, "cut-off", "demo-1")
    world.round()
    assert world.taints("demo-1") == []
    assert world.api.list(PODS).items


def test_users_out_of_service_taint_is_kept(world):
    theirs = {**OUT_OF_SERVICE, "value": "nodeshutdown"}
    world.api.patch(NODES, "demo-1", {"spec": {"taints": [theirs]}})
    world.round()
    assert world.taints("demo-1") == [OUT_OF_SERVICE["key"]]


def test_call_during_first_list_waits(world):
    """Else a node would be called unknown, in an Event, only because the controller has just begun."""
    begun, go_on = Event(), Event()

    class Slow(MemoryInstances):
        def list(self, cluster):
            begun.set()
            assert go_on.wait(5)
            return super().list(cluster)

    view = ServerView(Slow([server(1), server(2)]), "demo", Place("R"), lambda: 0.0)
    answers = []
    threads = [Thread(target=lambda n=n: answers.append(view.ask(world.node(f"demo-{n}")))) for n in (1, 2)]
    threads[0].start()
    assert begun.wait(5)
    threads[1].start()
    threads[1].join(0.05)
    assert answers == []
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert sorted(answer.id for answer in answers) == ["id-1", "id-2"]
