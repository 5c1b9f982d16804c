"""A cloud in memory, a cluster's API and a user's machine, for the loop of `clusters.reconcile`."""

from __future__ import annotations

from threading import Lock

from moorage.clusters import reconcile
from moorage.clusters.explain import CONDITION, node_name
from moorage.clusters.reconcile import PollInterval
from moorage.kube.memory import MemoryKube
from moorage.model.cluster import ClusterSpec

SPEC = ClusterSpec("demo", workers=2)
NODES = ["demo-control-plane-0", "demo-default-worker-0", "demo-default-worker-1"]


class Joined(MemoryKube):
    """A cluster's API with the nodes that booted and have their server.

    While `slow`, it has not noticed a deleted server.
    """

    cloud = None
    slow = False
    removed = ()

    def nodes(self):
        made = self.cloud.stacks.records.values() if self.cloud else ()
        ready = [r for m in made for r in m.resources if r.type == CONDITION and r.status == "CREATE_COMPLETE"]
        names = {node_name(resource, "demo") for resource in ready}
        if self.cloud and not self.slow:
            names &= {server.name for server in self.cloud.servers.list("demo")}
        return [node for node in super().nodes() if node.name in names]

    def remove_node(self, name):
        self.removed += (name,)


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
        kube.cloud = cloud
        self.reported = []

    def create(self, spec=SPEC, cloud=None, **words):
        return reconcile.create(
            cloud or self.cloud, self.kube.connect, self.folder, spec, self.reported.append, poll=Clock().poll, **words
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
