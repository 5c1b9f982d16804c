"""A cloud in memory, a cluster's API and a user's machine, for the loop of `clusters.reconcile`."""

from __future__ import annotations

from base64 import b64decode
from threading import Lock

from moorage.clusters import reconcile
from moorage.clusters.execute import Executor
from moorage.clusters.explain import CONDITION, node_name
from moorage.clusters.node_groups import NodeGroups
from moorage.clusters.nodes import NodeExecutor
from moorage.clusters.observer import Observer
from moorage.clusters.progress import PollInterval, ProgressLog, Run
from moorage.clusters.state import DesiredState
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import CONFIG_MAPS, DEPLOYMENTS, PODS, SECRETS, ResourceList
from moorage.kube.port import NODES as KUBE_NODES
from moorage.model.cluster import ClusterSpec, NodeGroup
from moorage.model.nodes import GROUP_LABEL

SPEC = ClusterSpec("demo", (NodeGroup(count=2),))
NODES = ["demo-control-plane-0", "demo-workers-1-0", "demo-workers-1-1"]


class ClusterApi(MemoryKubernetesClient):
    """A cluster's API with all its nodes Ready, and DNS available. `connect` keeps the access that it got."""

    def __init__(self):
        super().__init__()
        self.access_used = None
        for name in NODES:
            self.register(name)
        dns = {"metadata": {"namespace": "kube-system", "name": "coredns"}, "status": {"availableReplicas": 1}}
        self.create(DEPLOYMENTS, dns)

    def register(self, name):
        """What a kubelet does; a Node of its name may exist."""
        ready = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.37.2"}}
        if self.get(KUBE_NODES, name) is None:
            labels = {GROUP_LABEL: "control-plane" if "control-plane" in name else name.split("-")[1]}
            self.create(KUBE_NODES, {"metadata": {"name": name, "labels": labels}, "status": ready})

    def connect(self, access):
        self.access_used = access
        return self

    def fail_node(self, name, reason):
        conditions = [{"type": "Ready", "status": "False", "message": reason}]
        self.patch(KUBE_NODES, name, {"status": {"conditions": conditions}}, status=True)

    def report_problem(self, problem):
        metadata = {"namespace": "kube-system", "name": "moorage-controller"}
        self.create(CONFIG_MAPS, {"metadata": metadata, "data": {"problem": problem}})

    def secrets(self):
        """The decoded data of each Secret, by name."""
        return {
            secret["metadata"]["name"]: {key: b64decode(text).decode() for key, text in secret["data"].items()}
            for secret in self.list(SECRETS).items
        }


class Joined(ClusterApi):
    """A cluster's API in which nodes register that booted; it lists those that have their server.

    While `slow`, it has not noticed a deleted server. `removed` are the deleted nodes, which do not register again.
    """

    cloud = None
    slow = False
    removed = ()

    def list(self, resource, field=""):
        if resource != KUBE_NODES:
            return super().list(resource, field)
        made = self.cloud.stacks.records.values() if self.cloud else ()
        planned = [(node_name(r, m.stack.name), r) for m in made for r in m.resources]
        names = {name for name, r in planned if r.type == CONDITION and r.status == "CREATE_COMPLETE"}
        for name in names - set(self.removed):
            self.register(name)
        found = super().list(resource, field)
        if self.cloud and not self.slow:
            names &= {name for name, r in planned if self.cloud.servers.get(r.physical_id)}
        return ResourceList(tuple(node for node in found.items if node["metadata"]["name"] in names), found.version)

    def evict(self, pod):
        """The kubelet stops it at once."""
        super().evict(pod)
        self.delete(PODS, pod, at_once=True)

    def delete(self, resource, key, uid="", *, at_once=False):
        if resource == KUBE_NODES:
            self.removed += (key,)
        super().delete(resource, key, uid, at_once=at_once)


class Clock:
    """A clock that advances only by `sleep`."""

    def __init__(self):
        self.time = 0.0
        self.poll = PollInterval(1.0, lambda: self.time, self.sleep)

    def sleep(self, seconds):
        self.time += seconds


class Killed(BaseException):
    """What `kill -9` is to a process."""


PORTS = ("identity", "stacks", "servers", "images", "network", "load_balancers", "volumes")


class Dying:
    """A cloud with a client that is killed at its n-th call of any port: before the call, or after it."""

    def __init__(self, port, number, after, life=None):
        self.port, self.number, self.after = port, number, after
        self.life = life or Life()

    def __getattr__(self, name):
        found = getattr(self.port, name)
        if name in PORTS:
            return found and Dying(found, self.number, self.after, self.life)
        if not callable(found):
            return found

        def call(*args, **words):
            last = self.life.spend() == self.number
            if last and not self.after:
                raise Killed
            result = found(*args, **words)
            if last:
                raise Killed
            return result

        return call


class Life:
    """Calls so far; some are made side by side."""

    def __init__(self):
        self.calls, self.lock = 0, Lock()

    def spend(self):
        with self.lock:
            self.calls += 1
            return self.calls


class World:
    def __init__(self, cloud, kube, folder):
        self.cloud, self.kube, self.folder = cloud, kube, folder
        kube.cloud, kube.removed = cloud, ()
        self.reported = []

    def create(self, spec=SPEC, cloud=None, **words):
        return reconcile.create(
            cloud or self.cloud, self.kube.connect, self.folder, spec, self.reported.append, poll=Clock().poll, **words
        )

    def executor(self, spec=SPEC):
        """A run of the creation, to be called step by step."""
        observer = Observer(self.cloud, self.kube.connect, reconcile.key_store(self.cloud, self.folder), spec.name)
        run = Run(ProgressLog(self.reported.append, Clock().poll), 900, "not ready", "")
        return Executor(observer, run, lambda _: DesiredState(spec, creates=True), NodeExecutor(observer, run))

    def repair(self, name="demo"):
        return reconcile.repair(
            self.cloud, self.kube.connect, self.folder, name, self.reported.append, poll=Clock().poll
        )

    def groups(self, cloud=None, kube=None, name="demo"):
        """The node groups of a cluster."""
        kube = kube or self.kube
        kube_of = kube.connect if kube is self.kube else lambda _: kube
        return NodeGroups(
            cloud or self.cloud, kube_of, self.folder, name, self.reported.append, timeout=900, poll=Clock().poll
        )

    def delete(self, name="demo", cloud=None, **words):
        return reconcile.delete(
            cloud or self.cloud, self.kube.connect, self.folder, name, self.reported.append, poll=Clock().poll, **words
        )

    def renew(self, name="demo"):
        reconcile.renew_credential(self.cloud, self.kube.connect, self.folder, name)

    def observe(self, name="demo"):
        return reconcile.observe(self.cloud, self.kube.connect, self.folder, name)

    def files(self):
        return [path for path in self.folder.rglob("*") if path.is_file()]
