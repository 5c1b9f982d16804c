"""`python -m benchmarks.load_balancers [RUNS]`: one Service on 160 nodes against 2, the cloud in memory and slow.

Needs no cloud. A call of the cloud takes 50 ms, and after a change a load balancer is PENDING for 300 ms, whatever its
number of members: the difference is ours.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from benchmarks.apart import RemotePort, SharedCloud
from benchmarks.population import conditions, node, service, shown
from benchmarks.waiting import until
from moorage.ccm.load_balancers import settings as load_balancing
from moorage.ccm.nodes.identity import Place
from moorage.controller.main import Project, Settings, compose
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import NODES, SERVICES

CALL, PENDING = 0.05, 0.3  # seconds
FEW, MANY = 2, 160


@dataclass(frozen=True)
class Work:
    """The duration, the number of calls that change something, and the number of all calls."""

    seconds: float
    changes: int
    calls: int


class Cluster:
    """Nodes, a controller, and a slow cloud."""

    def __init__(self, nodes: int) -> None:
        self.api, self.cloud, self.nodes = MemoryKubernetesClient(), SharedCloud(nodes, 0, CALL, PENDING), nodes
        for number in range(nodes):
            self.api.create(NODES, node(number))

    @contextmanager
    def running(self) -> Iterator[None]:
        ports: list[Any] = [RemotePort(self.cloud, name) for name in ("servers", "load_balancers", "network")]
        load_balancer_settings = load_balancing.Settings("demo", "subnet", "10.0.0.0/16", "group", "public")
        controller = compose(
            self.api, Project("R", *ports), Settings("demo", Place("R"), "bench", 0), load_balancer_settings
        )
        stop = Event()
        thread = Thread(target=controller.run, args=(stop,))
        thread.start()
        try:
            until(lambda: all("providerID" in found["spec"] for found in self.api.list(NODES).items))
            time.sleep(1)
            yield
        finally:
            stop.set()
            thread.join()

    def create(self, number: int) -> Work:
        """A Service with one port, until it shows its address."""
        key = f"default/app-{number}"
        self.cloud.called()
        self.api.create(SERVICES, service(number))
        took = until(lambda: shown(self.api.get(SERVICES, key) or {}))
        return self._worked(took)

    def change(self, number: int, ready: str) -> Work:
        """One node becomes ready or not ready, until the load balancer has its members and is ACTIVE."""
        self.cloud.called()
        status = {"status": {"conditions": conditions(ready)}}
        self.api.patch(NODES, f"demo-{number}", status, status=True)
        took = until(lambda: self.cloud.right(self.nodes - (ready == "False")) == 1)
        time.sleep(1)  # the call that follows: whether the load balancer has the member
        return self._worked(took)

    def remove(self, number: int) -> None:
        self.api.delete(SERVICES, f"default/app-{number}")
        until(lambda: self.api.get(SERVICES, f"default/app-{number}") is None)

    def _worked(self, seconds: float) -> Work:
        calls = {name: count for name, count in self.cloud.called().items() if not name.startswith("servers")}
        looks = ("named", "tagged", "get", "status", "floating_ips", "rules")
        changes = sum(count for name, count in calls.items() if name.partition(".")[2] not in looks)
        return Work(seconds, changes, sum(calls.values()))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"a call {CALL * 1000:.0f} ms, PENDING {PENDING * 1000:.0f} ms after a change, median of {runs}")
    few, many = (measure(count, runs) for count in (FEW, MANY))
    print(f"{MANY} members against {FEW}: {many / few:.2f} times as long")


def measure(nodes: int, runs: int) -> float:
    """Seconds for a new Service."""
    cluster = Cluster(nodes)
    with cluster.running():
        made = []
        for run in range(runs):
            made.append(cluster.create(2 * run))
            if run < runs - 1:
                cluster.remove(2 * run)
        print(f"{nodes} members: ready in {_summary(made)}")
        changed = [cluster.change(1, ready) for _ in range(runs) for ready in ("False", "True")]
        print(f"{nodes} members, one changed: correct in {_summary(changed)}")
    return statistics.median(work.seconds for work in made)


def _summary(works: list[Work]) -> str:
    usual = sorted(works, key=lambda work: work.seconds)[len(works) // 2]
    return f"{usual.seconds:.2f} s, {usual.changes} calls that change something of {usual.calls}"


if __name__ == "__main__":
    main()
