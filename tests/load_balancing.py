"""A cluster of Services, nodes and endpoints in memory, a cloud, and the reconciler of load balancers between them."""

from __future__ import annotations

from moorage.ccm.load_balancers.execute import Executor
from moorage.ccm.load_balancers.garbage_collect import OrphanCollector
from moorage.ccm.load_balancers.reconcile import BY_SERVICE, LoadBalancerReconciler, index_slice
from moorage.ccm.load_balancers.settings import OVN, Settings
from moorage.ccm.load_balancers.targets import NodeChanges, TargetNodes
from moorage.cloud.memory_load_balancers import MemoryLoadBalancers
from moorage.cloud.memory_network import MemoryNetwork
from moorage.cloud.network import Subnet
from moorage.kube.events import Recorder
from moorage.kube.memory_client import MemoryKubernetesClient
from moorage.kube.objects import ENDPOINT_SLICES, EVENTS, NODES, SERVICES, key_of
from moorage.kube.store import Store

PREFIX = "loadbalancer.openstack.org/"
READS = {"named", "tagged", "tree", "status", "subnet", "subnets", "floating_ips", "rules"}


class Killed(BaseException):
    """The program died: nothing after the call happened."""


class Mortal:
    """A port that dies after so many calls that change something, or, with `before`, instead of the last of them."""

    def __init__(self, port, life):
        self._port, self._life = port, life

    def __getattr__(self, name):
        call = getattr(self._port, name)
        return call if name in READS else lambda *words: self._life.spend(lambda: call(*words))


class Life:
    def __init__(self):
        self.left = None

    def spend(self, call):
        if self.left == 0:
            raise Killed
        if self.left is not None:
            self.left -= 1
        return call()


def service(name="web", annotations=None, ports=((80, "TCP", 30080),), **spec):
    metadata = {"name": name, "namespace": "default", "annotations": dict(annotations or {})}
    listed = [{"port": port, "protocol": protocol, "nodePort": node} for port, protocol, node in ports]
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": listed, "ipFamilies": ["IPv4"], **spec}}


def node(number, ready=True, labels=None):
    status = {
        "addresses": [{"type": "InternalIP", "address": f"10.0.{number // 200}.{number % 200 + 10}"}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return {"metadata": {"name": f"node-{number:03}", "labels": dict(labels or {})}, "status": status}


def endpoints(name, *numbers, ready=True):
    listed = [{"nodeName": f"node-{number:03}", "conditions": {"ready": ready}} for number in numbers]
    metadata = {"name": f"{name}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": name}}
    return {"metadata": metadata, "endpoints": listed}


class World:
    def __init__(self, provider=OVN, nodes=2, settle=0):
        self.now = 0.0
        self.provider = provider
        self.api = MemoryKubernetesClient()
        self.network = MemoryNetwork({"public": [Subnet("sub-a", "a", "172.24.4.0/24", ("gold",))]})
        self.network.known["inner"] = [Subnet("subnet", "nodes", "10.0.0.0/16")]
        self.load_balancers = MemoryLoadBalancers(settle, gone=self.network.unmap)
        self.life = Life()
        for number in range(nodes):
            self.api.create(NODES, node(number))
        self.restart()

    def restart(self, cluster="demo"):
        """A new process: nothing is remembered."""
        self.services, self.nodes, self.slices = Store(), Store(), Store()
        self.slices.add_index(BY_SERVICE, index_slice)
        settings = Settings(cluster, "subnet", "10.0.0.0/16", "group", "public", self.provider)
        load_balancers, network = Mortal(self.load_balancers, self.life), Mortal(self.network, self.life)
        self.executor = Executor(load_balancers, network, self.sleep, lambda: self.now)
        self.targets = TargetNodes(self.nodes)
        events = Recorder(self.api, "test", lambda: self.now)
        self.reconciler = LoadBalancerReconciler(
            self.api, self.services, self.targets, self.slices, load_balancers, network, settings, events, self.executor
        )
        self.woken = []
        self.news = NodeChanges(self.targets, self.reconciler.affected, self.woken.append)
        self.sweeper = OrphanCollector(self.reconciler, self.api, self.executor, self.woken.append)
        self.watch()

    def sleep(self, seconds):
        self.now += seconds

    def watch(self):
        """The cache as true as can be."""
        for resource, store in ((SERVICES, self.services), (NODES, self.nodes), (ENDPOINT_SLICES, self.slices)):
            found = {key_of(o): o for o in self.api.list(resource).items}
            for key in store.keys() - set(found):
                store.drop(key)
            for o in found.values():
                store.put(o)

    def turn(self, name="web"):
        self.watch()
        again = self.reconciler.reconcile(f"default/{name}")
        self.watch()
        return again

    def settle(self, name="web", turns=40):
        """Turns until nothing is to be done; returns how many it took."""
        for count in range(1, turns + 1):
            again = self.turn(name)
            if again is None:
                return count
            self.now += again
        raise AssertionError(f"still not settled: {self.events()}")

    def make(self, *words, **more):
        self.api.create(SERVICES, service(*words, **more))
        return self.settle(words[0] if words else more.get("name", "web"))

    def delete(self, name="web"):
        self.api.delete(SERVICES, f"default/{name}")
        return self.settle(name)

    def annotate(self, name="web", **values):
        changes = {PREFIX + key.replace("_", "-"): value for key, value in values.items()}
        self.api.patch(SERVICES, f"default/{name}", {"metadata": {"annotations": changes}})

    def spec(self, name="web", **values):
        self.api.patch(SERVICES, f"default/{name}", {"spec": values})

    def ports(self, *ports, name="web"):
        self.spec(name, ports=[{"port": port, "protocol": p, "nodePort": node} for port, p, node in ports])

    def shown(self, name="web"):
        found = self.api.get(SERVICES, f"default/{name}")
        return (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or []

    def events(self):
        return [(e["reason"], e["message"]) for e in self.api.list(EVENTS).items]

    def reasons(self):
        return [reason for reason, _ in self.events()]

    def changes(self):
        """Calls so far that change something."""
        return [call for call in (*self.load_balancers.asked, *self.network.asked) if call not in READS]

    def forget_calls(self):
        self.load_balancers.asked.clear()
        self.network.asked.clear()

    def calls(self):
        return [*self.load_balancers.asked, *self.network.asked]

    @property
    def only(self):
        (found,) = self.load_balancers.held.values()
        return found

    @property
    def floating(self):
        (found,) = self.network.floating.values()
        return found

    def open_to(self):
        return {(rule.protocol, rule.port, rule.cidr) for rule in self.network.let_in.values()}

    def empty(self):
        return not (self.load_balancers.held or self.network.floating or self.network.let_in)
