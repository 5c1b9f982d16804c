"""The whole controller in memory: threads, lease, faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from threading import Event, Thread

import pytest

import waiting
from moorage.ccm.nodes import reconcile as nodes_module
from moorage.ccm.nodes.identity import Place
from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.port.network import ClusterNetwork, Subnet
from moorage.cloud.port.servers import Address, Server
from moorage.cloud.port.volumes import NewVolume
from moorage.controller import run as run_module
from moorage.controller.main import LEASE, Project, Settings, compose, load_balancer_settings
from moorage.controller.metrics import Metrics
from moorage.controller.run import Runner
from moorage.kube import informer as cache_module
from moorage.kube.informer import Informer
from moorage.kube.lease import LeaseTimings
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import LEASES, NODES, PERSISTENT_VOLUMES, SERVICES, SNAPSHOT_CONTENTS, STORAGE_CLASSES
from moorage.model.ownership import CLUSTER_MARK, RECLAIM_MARK

pytestmark = pytest.mark.unit
until = partial(waiting.until, seconds=10, pause=0.01)
QUICK = LeaseTimings(duration=1, give_up=0.6, every=0.05)
STEADY = LeaseTimings(duration=60, give_up=40, every=0.05)  # a slow machine does not lose it
INNER = Subnet("subnet", "demo", "10.0.0.0/24")
TAINT = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}


def server(number):
    fields = {"addresses": (Address("fixed", "10.0.0.5"),), "metadata": {"moorage_cluster": "demo"}}
    return Server(f"id-{number}", f"demo-{number}", "ACTIVE", "m1.node", "nova", **fields)


class Running:
    """A controller in its own thread."""

    def __init__(self, api, project, me="one", timings=STEADY):
        settings = Settings("demo", Place("R"), me, 0, timings)
        self.controller = compose(api, project, settings, load_balancer_settings(project, "demo"))
        self.stop, self.result = Event(), []
        self.thread = Thread(target=lambda: self.result.append(self.controller.run(self.stop)))
        self.thread.start()

    def end(self):
        self.stop.set()
        self.thread.join(10)
        return self.result


@pytest.fixture
def api():
    api = MemoryKubernetesClient()
    yield api
    api.unreachable = "over"
    api.cut_watches()


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(nodes_module, "PERIOD", 0.1)
    return MemoryServers([server(0), server(1)])


@pytest.fixture
def project(cloud):
    network = MemoryNetwork(
        {"outside": [Subnet("pool", "pool", "172.24.4.0/24")], "inner": [INNER]},
        cluster_networks={"demo": ClusterNetwork(INNER, "g", "outside")},
    )
    return Project("R", cloud, MemoryLoadBalancers(on_delete=network.disassociate_port), network, MemoryVolumes())


@pytest.fixture
def start(api, project):
    controllers = []

    def start(me="one", timings=STEADY, **changes):
        controllers.append(Running(api, replace(project, **changes), me, timings))
        return controllers[-1]

    yield start
    for running in controllers:
        running.end()


def join(api, number):
    api.create(NODES, {"metadata": {"name": f"demo-{number}"}, "spec": {"taints": [TAINT]}})


def initialised(api, number):
    return (api.get(NODES, f"demo-{number}") or {"spec": {}})["spec"].get("providerID") == f"openstack:///id-{number}"


def holder(api):
    return (api.get(LEASES, LEASE) or {"spec": {}})["spec"].get("holderIdentity")


def test_node_is_initialized_and_deleted_with_its_server(api, cloud, start):
    running = start()
    join(api, 1)
    until(lambda: initialised(api, 1))
    del cloud.servers["id-1"]
    until(lambda: api.get(NODES, "demo-1") is None)
    assert running.controller._alive()
    assert running.controller.metrics.registry.get_sample_value("moorage_leading") == 1


def test_service_gets_and_loses_load_balancer(api, project, start):
    status = {"addresses": [{"type": "InternalIP", "address": "10.0.0.5"}]}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    api.create(NODES, {"metadata": {"name": "demo-1"}, "spec": {}, "status": status | ready})
    start()
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    spec = {"type": "LoadBalancer", "ports": ports, "ipFamilies": ["IPv4"]}
    api.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})

    def entry():
        obj = api.get(SERVICES, "default/web")
        return (obj.get("status", {}).get("loadBalancer") or {}).get("ingress")

    until(entry)
    (load_balancer,) = project.load_balancers.by_id.values()
    assert (load_balancer.name, load_balancer.provider, load_balancer.subnet) == (
        "kube_service_demo_default_web",
        "ovn",
        "subnet",
    )
    assert [member.address for member in load_balancer.listeners[0].pool.members] == ["10.0.0.5"]
    assert [floating.address for floating in project.network.floating.values()] == [entry()[0]["ip"]]
    assert {rule.port for rule in project.network.security_group_rules.values()} == {30080}
    api.delete(SERVICES, "default/web")
    until(lambda: api.get(SERVICES, "default/web") is None)
    assert not project.load_balancers.by_id
    assert not project.network.floating
    assert not project.network.security_group_rules


def test_nodes_are_initialized_without_load_balancers(api, project, start, caplog):
    project.load_balancers.provider_names = ()
    start()
    join(api, 1)
    until(lambda: initialised(api, 1))
    assert "no load balancers: " in caplog.text
    assert "this cloud has no Octavia" in caplog.text
    project.network.cluster_networks.clear()
    assert load_balancer_settings(project, "demo") is None
    assert "no network of cluster 'demo'" in caplog.text


def test_volumes_get_classes_and_policies(api, project, start, monkeypatch):
    monkeypatch.setattr(cache_module, "LONGEST_PAUSE", 0.05)  # between two lists of a resource that is not defined
    kept = project.volumes.create(NewVolume("pvc-1", 1, metadata={CLUSTER_MARK: "demo"}))
    start()
    until(lambda: len(api.list(STORAGE_CLASSES).items) == 2)
    spec = {"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": kept.id}}
    spec["persistentVolumeReclaimPolicy"] = "Retain"
    api.create(PERSISTENT_VOLUMES, {"metadata": {"name": "pvc-1"}, "spec": spec})
    until(lambda: project.volumes.get(kept.id).metadata.get(RECLAIM_MARK) == "Retain")
    snapshot = project.volumes.create_snapshot("s", kept.id, False, {CLUSTER_MARK: "demo"})
    api.defined.add(SNAPSHOT_CONTENTS)
    source = {"driver": "cinder.csi.openstack.org", "deletionPolicy": "Retain", "source": {"volumeHandle": kept.id}}
    body = {"metadata": {"name": "c"}, "spec": source, "status": {"snapshotHandle": snapshot.id}}
    api.create(SNAPSHOT_CONTENTS, body)
    until(lambda: project.volumes.get_snapshot(snapshot.id).metadata.get(RECLAIM_MARK) == "Retain")


def test_cloud_without_cinder_has_no_volume_reconcilers(api, project, start, caplog):
    running = start(volumes=None)
    until(running.controller.runner.cache.ready)
    assert "this cloud has no Cinder" in caplog.text
    assert api.list(STORAGE_CLASSES).items == ()


def test_only_leader_works_and_hands_over(api, start):
    one = start("one")
    until(lambda: holder(api) == "one")
    two = start("two")
    until(two.controller.runner.cache.ready)
    assert not two.controller.elector.is_leader
    started = time.monotonic()
    assert one.end() == [True]
    until(lambda: holder(api) == "two")
    assert time.monotonic() - started < 1, "no candidate waited for the lease to expire"
    join(api, 1)
    until(lambda: initialised(api, 1))


def test_lost_lease_ends_the_work(api, start):
    one = start("one")
    until(lambda: holder(api) == "one")
    stolen = api.get(LEASES, LEASE)
    stolen["spec"]["holderIdentity"] = "thief"
    del stolen["metadata"]["resourceVersion"]
    api.replace(LEASES, stolen)
    one.thread.join(10)
    assert one.result == [False]
    join(api, 1)
    time.sleep(0.3)
    assert not initialised(api, 1)
    assert holder(api) == "thief"


def test_api_unreachable_for_long_ends_the_work(api, start):
    one = start("one", QUICK)
    until(lambda: holder(api) == "one")
    api.unreachable = "etcd has no leader"
    one.thread.join(10)
    assert one.result == [False]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dead_thread_ends_program_and_releases_lease(api, start):
    one = start("one")
    until(lambda: holder(api) == "one")
    one.controller.runner.cache.store(NODES).put = lambda _: 1 / 0
    join(api, 1)
    one.thread.join(10)
    assert one.result == [False]
    assert holder(api) == ""


def test_lost_watches_are_resumed(api, start):
    start()
    for number in (0, 1):
        api.cut_watches()
        join(api, number)
        api.forget()
        until(lambda number=number: initialised(api, number))


class FailingReconciler:
    """A reconciler that fails for one key."""

    name = "failing"
    watches = (NODES,)

    def __init__(self):
        self.reconciled = []

    def keys_for(self, resource, obj):
        return [obj["metadata"]["name"].upper()]

    def reconcile(self, key):
        self.reconciled.append(key)
        if key == "DEMO-0":
            raise ValueError("a fault of ours")


def test_error_in_one_object_is_counted_and_others_continue(api):
    metrics, stop, failing = Metrics(), Event(), FailingReconciler()
    runner = Runner(Informer(api), metrics)
    runner.add(failing)
    runner.cache.start(stop)
    runner.start()
    join(api, 0)
    join(api, 1)
    until(lambda: failing.reconciled.count("DEMO-0") > 1 and "DEMO-1" in failing.reconciled)
    assert runner.alive()
    stop.set()
    runner.stop()
    errors = {"controller": "failing", "error": "ValueError"}
    assert metrics.registry.get_sample_value("moorage_reconcile_errors_total", errors) >= 2


def test_threads_that_have_not_started_yet_do_not_count_as_dead(api, monkeypatch):
    """A probe of /healthz may come at any moment of the start."""
    stop, alive = Event(), []
    runner = Runner(Informer(api), Metrics())
    runner.add(FailingReconciler())

    class Watched(Thread):
        def start(self):
            alive.append(runner.cache.alive() and runner.alive())
            super().start()

    monkeypatch.setattr(cache_module, "Thread", Watched)
    monkeypatch.setattr(run_module, "Thread", Watched)
    runner.cache.start(stop)
    runner.start()
    stop.set()
    runner.stop()
    assert alive == [True] * 3


class GatheringReconciler(FailingReconciler):
    name, workers, gather = "gathering", 5, 0.3

    def keys_for(self, resource, obj):
        return ["all"]

    def reconcile(self, key):
        self.reconciled.append(key)


def test_gather_merges_changes(api):
    stop, gathering = Event(), GatheringReconciler()
    runner = Runner(Informer(api), Metrics())
    runner.add(gathering)
    runner.cache.start(stop)
    runner.start()
    for number in range(10):
        join(api, number)
    until(lambda: gathering.reconciled)
    time.sleep(0.1)
    assert gathering.reconciled == ["all"]
    join(api, 10)
    until(lambda: gathering.reconciled == ["all", "all"])
    stop.set()
    runner.stop()


@pytest.mark.parametrize(("reconciler", "workers"), [(GatheringReconciler, 5), (FailingReconciler, 2)])
def test_reconciler_has_own_number_of_workers(api, reconciler, workers):
    runner = Runner(Informer(api), Metrics())
    runner.add(reconciler())
    runner.start()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith(f"{reconciler.name}-")]
    runner.stop()
    assert len(names) == workers


def test_nothing_starts_when_not_allowed(api):
    failing = FailingReconciler()
    runner = Runner(Informer(api), Metrics(), allowed=lambda: False)
    runner.add(failing)
    runner.wake("failing", "x")
    runner.start()
    until(lambda: runner.queues["failing"].depth == 0)
    runner.stop()
    assert failing.reconciled == []


PROGRAM = """
import moorage.controller.main as main
from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.kube.memory import MemoryKubernetesClient
import sys
from moorage.cloud.port.network import ClusterNetwork, Subnet
api = MemoryKubernetesClient()
subnet = Subnet("subnet", "demo", "10.0.0.0/24")
network = MemoryNetwork(cluster_networks={"demo": ClusterNetwork(subnet, "group", "outside")})
project = main.Project("", MemoryServers(), MemoryLoadBalancers(), network, MemoryVolumes())
main.command.main(
    ["--kubeconfig", sys.argv[0], "--clouds", sys.argv[1], "--cluster=demo", "--node-cidr=10.0.0.0/24", "--port=0"],
    standalone_mode=False, obj=main.Adapters(lambda _: api, lambda *_: project, lambda *_: lambda: None),
)
lease = api.get(main.LEASES_TEST, main.LEASE)
print("holder:", lease and lease["spec"]["holderIdentity"] or "missing", flush=True)
""".replace("main.LEASES_TEST", "__import__('moorage.kube.port', fromlist=['LEASES']).LEASES")


def test_sigterm_releases_the_lease(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "program.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stderr.readline()
        assert '"message": "holding the lease kube-system/moorage-controller' in line
        os.kill(process.pid, signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "holder: missing\n")


def test_without_clouds_yaml_certificates_are_approved_until_sigterm(tmp_path):
    asked = {"metadata": {"name": "csr"}, "spec": {"signerName": "kubernetes.io/kubelet-serving", "request": "bm8="}}
    prepared = f"from moorage.kube.port import SIGNING_REQUESTS\napi.create(SIGNING_REQUESTS, {asked!r})\nmain.command"
    (tmp_path / "program.py").write_text(PROGRAM.replace("main.command", prepared))
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "missing.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stderr.readline()
        assert '"message": "denied csr of None: it is not a readable certificate signing request' in line
        os.kill(process.pid, signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "holder: missing\n")
