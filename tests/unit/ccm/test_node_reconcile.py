"""Nodes in memory, when servers are created, stopped and deleted, and when the cloud is unreachable."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from moorage.ccm.nodes.identity import Place
from moorage.ccm.nodes.plan import OUT_OF_SERVICE, SHUTDOWN, UNINITIALIZED
from moorage.ccm.nodes.reconcile import PERIOD, NodeReconciler, ServerPoll
from moorage.ccm.nodes.view import ServerView
from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.port.servers import Address, Server
from moorage.kube.events import Recorder
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import EVENTS, NODES, PODS
from moorage.kube.store import Store
from moorage.model.errors import KubernetesUnreachable

pytestmark = pytest.mark.unit


def server(number, name=None):
    fields = {"addresses": (Address("fixed", f"10.0.0.{number}"),), "metadata": {"moorage_cluster": "demo"}}
    return Server(f"id-{number}", name or f"demo-{number}", "ACTIVE", "m1.node", "nova", **fields)


class World:
    """A cluster with the nodes 1 and 2, a cloud with their servers, and the reconcilers."""

    def __init__(self):
        self.now = 0.0
        self.api, self.cloud = MemoryKubernetesClient(), MemoryServers([server(1), server(2)])
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

    def sync_cache(self):
        for key in [node["metadata"]["name"] for node in self.store.all()]:
            self.store.drop(key)
        for node in self.api.list(NODES).items:
            self.store.put(node)

    def poll_once(self):
        """Polls once, then reconciles the nodes that it woke; the cache is up to date before and after."""
        self.sync_cache()
        self.woken.clear()
        assert self.poll.reconcile("all") == PERIOD
        retry_after = {name: self.nodes.reconcile(name) for name in self.woken}
        self.sync_cache()
        self.now += PERIOD
        return retry_after

    def node(self, name):
        return self.api.get(NODES, name)

    def events(self):
        return [(e["involvedObject"]["name"], e["reason"]) for e in self.api.list(EVENTS).items]

    def taints(self, name):
        return [taint["key"] for taint in self.node(name)["spec"].get("taints", [])]


@pytest.fixture
def world():
    world = World()
    world.poll_once()
    return world


def test_new_nodes_are_initialized_with_one_list(world):
    assert [world.node(f"demo-{n}")["spec"]["providerID"] for n in (1, 2)] == ["openstack:///id-1", "openstack:///id-2"]
    assert world.taints("demo-1") == []
    assert world.cloud.calls == ["list"]


def test_unchanged_servers_write_nothing_and_list_once_per_poll(world):
    world.cloud.calls.clear()
    world.api.calls.clear()
    for _ in range(3):
        assert world.poll_once() == {}
    assert world.cloud.calls == ["list"] * 3
    assert {call.split()[0] for call in world.api.calls} == {"list"}


def test_node_joining_between_polls_is_initialized_at_once(world):
    world.cloud.servers["id-3"] = server(3)
    world.join("demo-3")
    world.sync_cache()
    assert world.nodes.reconcile("demo-3") is None
    assert world.node("demo-3")["spec"]["providerID"] == "openstack:///id-3"


def test_node_of_recreated_server_gets_the_new_id(world):
    """The last list is some seconds old and still has the deleted server of the same name."""
    world.now -= PERIOD / 2
    world.api.delete(NODES, "demo-1")
    del world.cloud.servers["id-1"]
    world.cloud.servers["id-3"] = server(3, "demo-1")
    world.join("demo-1")
    world.sync_cache()
    world.nodes.reconcile("demo-1")
    assert world.node("demo-1")["spec"]["providerID"] == "openstack:///id-3"


def test_many_nodes_joining_list_once(world):
    for number in range(3, 30):
        world.cloud.servers[f"id-{number}"] = server(number)
        world.join(f"demo-{number}")
    world.sync_cache()
    world.cloud.calls.clear()
    for number in range(3, 30):
        world.nodes.reconcile(f"demo-{number}")
    assert world.cloud.calls == ["list"]
    assert world.taints("demo-29") == []


def test_server_stopped_and_started_changes_taint(world):
    world.cloud.set_status("id-1", "SHUTOFF")
    world.poll_once()
    assert (world.taints("demo-1"), world.taints("demo-2")) == ([SHUTDOWN], [])
    world.cloud.set_status("id-1", "ACTIVE")
    world.poll_once()
    assert world.taints("demo-1") == []


def test_deleted_server_deletes_only_its_node(world):
    del world.cloud.servers["id-1"]
    world.cloud.calls.clear()
    world.poll_once()
    assert world.node("demo-1") is None
    assert world.node("demo-2") is not None
    assert world.cloud.calls == ["list", "get"], "the server is requested alone before its node is deleted"
    assert ("demo-1", "ServerGone") in world.events()


def test_incomplete_list_deletes_no_node(world):
    world.cloud.unlisted = {"id-1"}
    world.poll_once()
    assert world.node("demo-1") is not None
    assert world.taints("demo-1") == []


def test_empty_list_deletes_no_node(world):
    """The list is empty with the credentials of another project."""
    world.cloud.servers.clear()
    world.cloud.calls.clear()
    world.poll_once()
    world.nodes.reconcile("demo-1")
    assert world.node("demo-1") is not None
    assert world.cloud.calls == ["list"]
    assert ("kube-system", "CloudUnreachable") in world.events()


def test_unreachable_cloud_records_one_event_and_changes_nothing(world):
    before = [world.node(f"demo-{n}") for n in (1, 2)]
    world.cloud.unreachable = "Nova does not answer"
    del world.cloud.servers["id-1"]
    for _ in range(5):
        assert world.poll_once() == {}
    assert [world.node(f"demo-{n}") for n in (1, 2)] == before
    assert world.events() == [("kube-system", "CloudUnreachable")]
    world.cloud.unreachable = ""
    world.poll_once()
    assert world.node("demo-1") is None


def test_cloud_unreachable_after_list_deletes_no_node(world):
    world.cloud.unlisted = {"id-1"}
    world.view.refresh()
    world.cloud.unreachable = "Nova does not answer"
    assert world.nodes.reconcile("demo-1") == 10.0
    assert world.node("demo-1") is not None
    assert ("demo-1", "CloudUnknown") in world.events()


def test_node_joining_during_outage_waits(world):
    world.cloud.unreachable = "Nova does not answer"
    world.poll_once()
    world.join("demo-3")
    world.sync_cache()
    assert world.nodes.reconcile("demo-3") == 10.0
    assert world.taints("demo-3") == [UNINITIALIZED]


def test_start_during_outage_initializes_node_afterwards():
    world = World()
    world.cloud.unreachable = "Keystone does not answer"
    world.sync_cache()
    assert world.nodes.reconcile("demo-1") == 10.0
    assert world.taints("demo-1") == [UNINITIALIZED]
    world.cloud.unreachable = ""
    world.poll_once()
    assert world.taints("demo-1") == []


def test_node_without_server_keeps_taint_and_records_event(world):
    world.join("visitor")
    world.sync_cache()
    assert world.nodes.reconcile("visitor") == 10.0
    assert world.taints("visitor") == [UNINITIALIZED]
    assert ("visitor", "NoServer") in world.events()


def test_two_servers_of_same_name_keep_taint_and_record_event(world):
    world.cloud.servers |= {f"id-{n}": server(n, "demo-twin") for n in (8, 9)}
    world.join("demo-twin")
    world.poll_once()
    assert world.taints("demo-twin") == [UNINITIALIZED]
    assert ("demo-twin", "CloudUnknown") in world.events()


def test_node_changed_meanwhile_is_reconciled_again(world):
    world.cloud.set_status("id-1", "SHUTOFF")
    world.view.refresh()
    own = {"key": "mine", "effect": "NoExecute"}
    world.api.patch(NODES, "demo-1", {"spec": {"taints": [own]}})
    assert world.nodes.reconcile("demo-1") == 0.5
    assert world.taints("demo-1") == ["mine"], "another client's change is not lost"
    world.sync_cache()
    world.nodes.reconcile("demo-1")
    assert world.taints("demo-1") == ["mine", SHUTDOWN]


def test_new_node_of_same_name_is_not_deleted(world):
    world.sync_cache()
    del world.cloud.servers["id-1"]
    world.view.refresh()
    world.api.delete(NODES, "demo-1")
    world.join("demo-1")
    assert world.nodes.reconcile("demo-1") == 0.5
    assert world.node("demo-1") is not None


def test_unreachable_api_raises(world):
    world.cloud.set_status("id-1", "SHUTOFF")
    world.view.refresh()
    world.api.unreachable = "etcd has no leader"
    with pytest.raises(KubernetesUnreachable):
        world.nodes.reconcile("demo-1")


def test_node_being_deleted_is_not_changed(world):
    world.api.patch(NODES, "demo-1", {"metadata": {"finalizers": ["x/y"]}})
    world.api.delete(NODES, "demo-1")
    world.sync_cache()
    world.cloud.set_status("id-1", "SHUTOFF")
    world.view.refresh()
    assert world.nodes.reconcile("demo-1") is None
    assert world.taints("demo-1") == []
    assert world.nodes.reconcile("no-such-node") is None


def create_pod(api, name, node):
    api.create(PODS, {"metadata": {"namespace": "default", "name": name}, "spec": {"nodeName": node}})


def test_deleted_server_deletes_pods_of_its_node(world):
    create_pod(world.api, "lost", "demo-1")
    create_pod(world.api, "running", "demo-2")
    del world.cloud.servers["id-1"]
    world.poll_once()
    assert world.node("demo-1") is None
    assert [pod["metadata"]["name"] for pod in world.api.list(PODS).items] == ["running"]


def test_deleted_server_clears_volumes_in_use_before_node_deletion(world):
    world.api.patch(NODES, "demo-1", {"status": {"volumesInUse": ["kubernetes.io/csi/x"]}}, status=True)
    del world.cloud.servers["id-1"]
    world.api.calls.clear()
    world.poll_once()
    assert [call for call in world.api.calls if call.split()[0] in ("patch", "delete")] == [
        "patch nodes",
        "delete nodes",
    ]
    assert world.node("demo-1") is None


def test_stopped_server_gets_out_of_service_taint_once_kubelet_is_unresponsive(world):
    def set_ready(status):
        world.api.patch(NODES, "demo-1", {"status": {"conditions": [{"type": "Ready", "status": status}]}}, status=True)

    set_ready("True")
    world.cloud.set_status("id-1", "SHUTOFF")
    world.poll_once()
    assert world.taints("demo-1") == [SHUTDOWN], "it may be about to start again"
    set_ready("Unknown")
    world.poll_once()
    assert world.taints("demo-1") == [SHUTDOWN, OUT_OF_SERVICE["key"]]
    world.api.calls.clear()
    world.poll_once()
    assert {call.split()[0] for call in world.api.calls} == {"list"}, "nothing is written again"
    world.cloud.set_status("id-1", "ACTIVE")
    world.poll_once()
    assert world.taints("demo-1") == []


def test_unresponsive_node_with_running_server_is_not_changed(world):
    world.api.patch(NODES, "demo-1", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, status=True)
    create_pod(world.api, "cut-off", "demo-1")
    world.poll_once()
    assert world.taints("demo-1") == []
    assert world.api.list(PODS).items


def test_out_of_service_taint_of_user_is_kept(world):
    user_taint = {**OUT_OF_SERVICE, "value": "nodeshutdown"}
    world.api.patch(NODES, "demo-1", {"spec": {"taints": [user_taint]}})
    world.poll_once()
    assert world.taints("demo-1") == [OUT_OF_SERVICE["key"]]


def test_find_during_first_list_waits_for_it(world):
    """Otherwise an Event would report an unknown server only because the controller has just started."""
    started, proceed = Event(), Event()

    class Slow(MemoryServers):
        def list(self, cluster):
            started.set()
            assert proceed.wait(5)
            return super().list(cluster)

    view = ServerView(Slow([server(1), server(2)]), "demo", Place("R"), lambda: 0.0)
    servers = []
    threads = [Thread(target=lambda n=n: servers.append(view.find(world.node(f"demo-{n}")))) for n in (1, 2)]
    threads[0].start()
    assert started.wait(5)
    threads[1].start()
    threads[1].join(0.05)
    assert servers == []
    proceed.set()
    for thread in threads:
        thread.join(5)
    assert sorted(server.id for server in servers) == ["id-1", "id-2"]
