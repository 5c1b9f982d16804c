"""`python -m benchmarks.controller [NODES [SERVICES [SECONDS]]]`: the controller in a large cluster, all in memory.

Needs no cloud. Half of the Services have two ports, and every node is a member of every load balancer. There is a
PersistentVolume for each Service. A call of the cloud takes SECONDS, and a change of a load balancer six times that:
0.05 is a fast cloud; with 0, the default, all time is the controller's own.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Event, Thread
from typing import Any

from benchmarks.apart import Apart, RemoteApi, RemotePort
from benchmarks.population import conditions, endpoint_slice, node, service, shown, volume
from benchmarks.waiting import resident, until
from moorage.ccm.load_balancers import settings as load_balancing
from moorage.ccm.nodes.identity import Place
from moorage.controller.credential import CredentialWatch
from moorage.controller.main import Controller, Project, Settings, compose
from moorage.kube.events import Recorder
from moorage.kube.port import ENDPOINT_SLICES, NODES, PERSISTENT_VOLUMES, SERVICES, Object

REST = 60.0  # seconds without changes: each periodic call happens at least once
BALANCED = load_balancing.Settings("demo", "subnet", "10.0.0.0/16", "group", "public")


@dataclass
class Bench:
    """One controller with its API and cloud."""

    api: RemoteApi
    cloud: Any
    controller: Controller
    nodes: int
    services: int
    accepted: Counter[str]

    def all_right(self, members: int) -> bool:
        return bool(self.cloud.right(members) == self.services)

    def calls(self) -> Counter[str]:
        """The calls since the last request for them."""
        found = self.cloud.called() + self.accepted
        self.accepted.clear()
        return found

    def stored(self, resource: Any) -> list[Object]:
        return self.controller.runner.cache.store(resource).all()


def main() -> None:
    nodes, services, seconds = _arguments(*sys.argv[1:])
    multiprocessing.set_start_method("spawn")
    with Apart() as api_process, Apart() as cloud_process, NamedTemporaryFile("w") as clouds:
        api = RemoteApi(api_process.Api())  # type: ignore[attr-defined]
        cloud = cloud_process.Cloud(nodes, services, seconds, 6 * seconds)  # type: ignore[attr-defined]
        print(f"{nodes} nodes of {len(json.dumps(node(0)))} bytes, {services} Services, {seconds} s a call")
        _fill(api, cloud, nodes, services)
        before = resident()
        accepted = Counter[str]()
        controller = _compose(api, cloud, Path(clouds.name), accepted)
        bench = Bench(api, cloud, controller, nodes, services, accepted)
        stop = Event()
        thread = Thread(target=controller.run, args=(stop,))
        thread.start()
        try:
            measure(bench, before)
        finally:
            stop.set()
            thread.join()


def _arguments(nodes: str = "1000", services: str = "200", seconds: str = "0") -> tuple[int, int, float]:
    return int(nodes), int(services), float(seconds)


def _fill(api: RemoteApi, cloud: Any, nodes: int, services: int) -> None:
    for number in range(nodes):
        api.create(NODES, node(number))
    for number, handle in enumerate(cloud.volume_handles()):
        api.create(PERSISTENT_VOLUMES, volume(number, handle))
    for number in range(services):
        api.create(SERVICES, service(number))
        api.create(ENDPOINT_SLICES, endpoint_slice(number, nodes))


def _compose(api: RemoteApi, cloud: Any, clouds: Path, accepted: Counter[str]) -> Controller:
    ports: list[Any] = [RemotePort(cloud, name) for name in ("servers", "load_balancers", "network", "volumes")]
    accept = lambda: accepted.update(["identity.accepted"])  # noqa: E731
    watch = CredentialWatch(api, Recorder(api, "bench", time.monotonic), clouds, accept)  # type: ignore[arg-type]
    settings = Settings("demo", Place("R"), "bench", 0)
    return compose(api, Project("R", *ports), settings, BALANCED, watch)  # type: ignore[arg-type]


def measure(bench: Bench, before: float) -> None:
    _start(bench)
    time.sleep(2)
    print(f"memory: {resident():.0f} MiB ({before:.0f} before it began)")
    _changed_nodes(bench)
    _rest(bench)
    status = {"status": {"conditions": conditions("False")}}
    _leaves(bench, "a node is no longer ready", lambda: bench.api.patch(NODES, "demo-9", status, status=True), 1)
    _leaves(bench, "a server and its Node are deleted", lambda: bench.cloud.lose("id-7"), 2)
    for number in range(20, 40):
        bench.api.patch(NODES, f"demo-{number}", status, status=True)
    _leaves(bench, "twenty nodes are no longer ready", lambda: None, 22)
    print(f"memory at the end: {resident():.0f} MiB")


def _start(bench: Bench) -> None:
    cpu = time.process_time()
    took = until(lambda: sum(_initialised(found) for found in bench.stored(NODES)) == bench.nodes)
    print(f"all nodes initialized: {took:.1f} s")
    took += until(lambda: bench.all_right(bench.nodes))
    took += until(lambda: all(shown(found) for found in bench.stored(SERVICES)))
    print(f"all Services ready: {took:.1f} s, {time.process_time() - cpu:.1f} CPU-seconds, {_summary(bench.calls())}")


def _changed_nodes(bench: Bench) -> None:
    """Changes that concern the node only."""
    took = []
    for number in range(20):
        key, wrong = f"demo-{number}", {"metadata": {"labels": {"topology.kubernetes.io/zone": "wrong"}}}
        bench.api.patch(NODES, key, wrong)
        took.append(until(lambda key=key: _zone(bench.api.get(NODES, key)) == "nova"))  # type: ignore[misc]
    print(f"a changed node is corrected: median {sorted(took)[10]:.3f} s, worst {max(took):.3f} s")


def _rest(bench: Bench) -> None:
    bench.calls()
    cpu = time.process_time()
    time.sleep(REST)
    calls, busy = bench.calls(), time.process_time() - cpu
    print(f"at rest: {calls.total() / REST:.2f} calls a second, {busy / REST:.1%} of a core; {_summary(calls)}")


def _leaves(bench: Bench, what: str, do: Callable[[], object], delete: int) -> None:
    """Remove members from every load balancer: the time until all are correct, and the calls after that."""
    bench.calls()
    cpu = time.process_time()
    do()
    took = until(lambda: bench.all_right(bench.nodes - delete))
    time.sleep(1)
    print(
        f"{what}: all correct in {took:.2f} s, {time.process_time() - cpu:.1f} CPU-seconds, {_summary(bench.calls())}"
    )


def _summary(calls: Counter[str]) -> str:
    return f"{calls.total()} calls ({', '.join(f'{name} {count}' for name, count in calls.most_common())})"


def _initialised(found: Object) -> bool:
    return "providerID" in found["spec"] and not found["spec"].get("taints")


def _zone(found: Object) -> str:
    return str(found["metadata"]["labels"].get("topology.kubernetes.io/zone"))


if __name__ == "__main__":
    main()
