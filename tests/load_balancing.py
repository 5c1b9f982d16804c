"""A cluster with Services, nodes and endpoints and a cloud, both in memory, with the load balancer reconciler."""

from __future__ import annotations

from moorage.ccm.load_balancers.execute import Executor
from moorage.ccm.load_balancers.garbage_collect import OrphanCollector
from moorage.ccm.load_balancers.reconcile import BY_SERVICE, LoadBalancerReconciler, index_slice
from moorage.ccm.load_balancers.settings import OVN, Settings
from moorage.ccm.load_balancers.views import NodeChanges, TargetNodes
from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.port.network import Subnet
from moorage.kube.events import Recorder
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import ENDPOINT_SLICES, EVENTS, NODES, SERVICES, key_of
from moorage.kube.store import Store

PREFIX = "loadbalancer.openstack.org/"
READ_CALLS = {"named", "tagged", "get", "status", "subnet", "subnets", "floating_ips", "rules"}


class ProcessKilled(BaseException):
    """Simulates the death of the process: the call, and everything after it, does not happen."""


class KillablePort:
    """A port of the cloud, of which the calls that change something use up the call budget."""

    def __init__(self, port, budget):
        self._port, self._budget = port, budget

    def __getattr__(self, name):
        call = getattr(self._port, name)
        return call if name in READ_CALLS else lambda *arguments: self._budget.spend(lambda: call(*arguments))


class CallBudget:
    """The number of calls until the process is killed; None is unlimited."""

    def __init__(self):
        self.remaining = None

    def spend(self, call):
        if self.remaining == 0:
            raise ProcessKilled
        if self.remaining is not None:
            self.remaining -= 1
        return call()


def service(name="web", annotations=None, ports=((80, "TCP", 30080),), **spec):
    metadata = {"name": name, "namespace": "default", "annotations": dict(annotations or {})}
    ports = [{"port": port, "protocol": protocol, "nodePort": node_port} for port, protocol, node_port in ports]
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": ports, "ipFamilies": ["IPv4"], **spec}}


def node(number, ready=True, labels=None):
    status = {
        "addresses": [{"type": "InternalIP", "address": f"10.0.{number // 200}.{number % 200 + 10}"}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return {"metadata": {"name": f"node-{number:03}", "labels": dict(labels or {})}, "status": status}


def endpoints(name, *numbers, ready=True):
    entries = [{"nodeName": f"node-{number:03}", "conditions": {"ready": ready}} for number in numbers]
    metadata = {"name": f"{name}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": name}}
    return {"metadata": metadata, "endpoints": entries}


class World:
    """`pending_polls` is how many times a load balancer is observed as PENDING after each change."""

    def __init__(self, provider=OVN, nodes=2, pending_polls=0):
        self.now = 0.0
        self.provider = provider
        self.api = MemoryKubernetesClient()
        self.network = MemoryNetwork({"public": [Subnet("sub-a", "a", "172.24.4.0/24", ("gold",))]})
        self.network.subnets_by_network["inner"] = [Subnet("subnet", "nodes", "10.0.0.0/16")]
        self.load_balancers = MemoryLoadBalancers(pending_polls, on_delete=self.network.disassociate_port)
        self.call_budget = CallBudget()
        for number in range(nodes):
            self.api.create(NODES, node(number))
        self.restart()

    def restart(self, cluster="demo"):
        """Starts a new process, which remembers nothing."""
        self.services, self.nodes, self.slices = Store(), Store(), Store()
        self.slices.add_index(BY_SERVICE, index_slice)
        settings = Settings(cluster, "subnet", "10.0.0.0/16", "group", "public", self.provider)
        load_balancers = KillablePort(self.load_balancers, self.call_budget)
        network = KillablePort(self.network, self.call_budget)
        self.executor = Executor(load_balancers, network, self.sleep, lambda: self.now)
        self.targets = TargetNodes(self.nodes)
        events = Recorder(self.api, "test", lambda: self.now)
        self.reconciler = LoadBalancerReconciler(
            self.api, self.services, self.targets, self.slices, load_balancers, network, settings, events, self.executor
        )
        self.woken = []
        self.node_changes = NodeChanges(self.targets, self.reconciler.affected, self.woken.append)
        self.collector = OrphanCollector(self.reconciler, self.api, self.executor, self.woken.append)
        self.sync_caches()

    def sleep(self, seconds):
        self.now += seconds

    def sync_caches(self):
        for resource, store in ((SERVICES, self.services), (NODES, self.nodes), (ENDPOINT_SLICES, self.slices)):
            found = {key_of(o): o for o in self.api.list(resource).items}
            for key in store.keys() - set(found):
                store.drop(key)
            for o in found.values():
                store.put(o)

    def reconcile(self, name="web"):
        self.sync_caches()
        retry_after = self.reconciler.reconcile(f"default/{name}")
        self.sync_caches()
        return retry_after

    def converge(self, name="web", limit=40):
        """Reconciles until nothing remains to do; returns the number of reconciliations."""
        for count in range(1, limit + 1):
            retry_after = self.reconcile(name)
            if retry_after is None:
                return count
            self.now += retry_after
        raise AssertionError(f"not converged: {self.events()}")

    def create_service(self, *arguments, **options):
        self.api.create(SERVICES, service(*arguments, **options))
        return self.converge(arguments[0] if arguments else options.get("name", "web"))

    def delete(self, name="web"):
        self.api.delete(SERVICES, f"default/{name}")
        return self.converge(name)

    def annotate(self, name="web", **values):
        changes = {PREFIX + key.replace("_", "-"): value for key, value in values.items()}
        self.api.patch(SERVICES, f"default/{name}", {"metadata": {"annotations": changes}})

    def patch_spec(self, name="web", **values):
        self.api.patch(SERVICES, f"default/{name}", {"spec": values})

    def set_ports(self, *ports, name="web"):
        entries = [{"port": port, "protocol": protocol, "nodePort": node_port} for port, protocol, node_port in ports]
        self.patch_spec(name, ports=entries)

    def ingress(self, name="web"):
        found = self.api.get(SERVICES, f"default/{name}")
        return (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or []

    def events(self):
        return [(e["reason"], e["message"]) for e in self.api.list(EVENTS).items]

    def reasons(self):
        return [reason for reason, _ in self.events()]

    def write_calls(self):
        return [call for call in self.calls() if call not in READ_CALLS]

    def clear_calls(self):
        self.load_balancers.calls.clear()
        self.network.calls.clear()

    def calls(self):
        return [*self.load_balancers.calls, *self.network.calls]

    @property
    def load_balancer(self):
        """The only load balancer."""
        (found,) = self.load_balancers.by_id.values()
        return found

    @property
    def floating_ip(self):
        """The only floating IP."""
        (found,) = self.network.floating.values()
        return found

    def open_ports(self):
        return {(rule.protocol, rule.port, rule.cidr) for rule in self.network.security_group_rules.values()}

    def is_empty(self):
        return not (self.load_balancers.by_id or self.network.floating or self.network.security_group_rules)
