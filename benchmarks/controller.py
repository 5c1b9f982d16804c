"""`python -m benchmarks.controller [NODES]`: the controller at a thousand nodes, cloud and API in memory.

Needs nothing. The API in memory lives in a process of its own, as it does in a cluster, so that the memory printed is
the controller's alone; what is between both is left out, so times have no network in them.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.managers import BaseManager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from moorage.ccm.nodes.identity import Place
from moorage.cloud.memory_balancers import MemoryBalancers
from moorage.cloud.memory_fronts import MemoryFronts
from moorage.cloud.memory_servers import MemoryInstances
from moorage.cloud.servers import Address, Instance
from moorage.controller.main import Project, Settings, compose
from moorage.kube.memory_objects import MemoryObjects
from moorage.kube.objects import NODES, Change, Listed, Object, Resource
from moorage.model.errors import CloudUnreachable

TAINT = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}
REST = 20.0  # seconds of doing nothing


def node(number: int) -> Object:
    """A node of the size that kubelets report: about 6 KB as JSON, with images and field managers."""
    conditions = [
        {
            "type": kind,
            "status": "False",
            "reason": f"Kubelet{kind}",
            "message": "x" * 60,
            "lastHeartbeatTime": "t" * 20,
        }
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    ]
    images = [{"names": [f"registry.example/{'n' * 60}@{i}"], "sizeBytes": i} for i in range(40)]
    return {
        "metadata": {
            "name": f"demo-{number}",
            "labels": {"kubernetes.io/hostname": f"demo-{number}", "kubernetes.io/os": "linux"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:{i}": {} for i in range(60)}}],
        },
        "spec": {"taints": [TAINT], "podCIDR": "10.244.0.0/24"},
        "status": {"conditions": conditions, "images": images, "capacity": {"cpu": "2", "memory": "2Gi"}},
    }


def server(number: int) -> Instance:
    address = Address("fixed", f"10.0.{number // 250}.{number % 250 + 1}")
    words: dict[str, Any] = {"addresses": (address,), "metadata": {"moorage_cluster": "demo"}}
    return Instance(f"id-{number}", f"demo-{number}", "ACTIVE", "m1.node", "nova", **words)


class Shared(MemoryObjects):
    """The API with answers that can be sent from process to process."""

    def changes(self, resource: Resource, version: str, seconds: float) -> tuple[list[Change], str]:
        """The first changes after that version, at once or within `seconds`; and the version after them."""
        next(self.watch(resource, version, seconds), None)
        found = list(self.watch(resource, version, 0.0))
        return found, found[-1].object["metadata"]["resourceVersion"] if found else version


class Api(BaseManager):
    """Starts the process that has the API."""


Api.register("Shared", Shared)


class Remote:
    """The port `Objects` on the other process."""

    def __init__(self, shared: Any) -> None:
        self.shared = shared

    def watch(self, resource: Resource, version: str, seconds: int) -> Iterator[Change]:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                found, version = self.shared.changes(resource, version, 5.0)
            except (EOFError, ConnectionError) as error:
                raise CloudUnreachable("the API in memory has ended") from error
            yield from found

    def list(self, resource: Resource) -> Listed:
        found: Listed = self.shared.list(resource)
        return found

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        found: Object = self.shared.patch(resource, key, change, status=status)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shared, name)


def until(what: Callable[[], bool], seconds: float = 60.0) -> float:
    """Seconds that it took."""
    begun = time.monotonic()
    while not what():
        if time.monotonic() > begun + seconds:
            raise TimeoutError("it did not happen")
        time.sleep(0.01)
    return time.monotonic() - begun


def resident() -> float:
    """This process's own memory in MiB: private and shared pages by their share."""
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    multiprocessing.set_start_method("spawn")
    with Api() as manager:
        remote = Remote(manager.Shared())  # type: ignore[attr-defined]
        made = [node(number) for number in range(count)]
        print(f"{count} nodes of {len(json.dumps(made[0]))} bytes")
        for one in made:
            remote.create(NODES, one)
        del made
        measure(remote, MemoryInstances(map(server, range(count))), count)


def measure(api: Remote, cloud: MemoryInstances, count: int) -> None:
    before = resident()
    controller = compose(
        api, Project("R", cloud, MemoryBalancers(), MemoryFronts()), Settings("demo", Place("R"), "bench", 0)
    )  # type: ignore[arg-type]
    stop = Event()
    thread = Thread(target=controller.run, args=(stop,))
    thread.start()
    nodes = controller.runner.cache.store(NODES)
    print(f"all initialised: {until(lambda: sum(_initialised(n) for n in nodes.all()) == count):.1f} s")
    time.sleep(2)
    print(f"memory: {resident():.0f} MiB ({before:.0f} before it began)")
    changes = []
    for number in range(20):
        api.patch(NODES, f"demo-{number}", {"metadata": {"labels": {"topology.kubernetes.io/zone": "wrong"}}})
        changes.append(until(lambda number=number: _zone(api.get(NODES, f"demo-{number}")) == "nova"))  # type: ignore[misc]
    print(f"a changed node is right again: median {sorted(changes)[10]:.3f} s, worst {max(changes):.3f} s")
    asked, cpu = len(cloud.asked), time.process_time()
    time.sleep(REST)
    print(f"at rest: {(len(cloud.asked) - asked) / REST:.2f} cloud calls a second", end=", ")
    print(f"{(time.process_time() - cpu) / REST:.1%} of a core")
    del cloud.servers["id-7"]
    print(f"a node whose server is gone is deleted: {until(lambda: nodes.get('demo-7') is None):.1f} s")
    stop.set()
    thread.join()


def _initialised(found: Object) -> bool:
    return "providerID" in found["spec"] and not found["spec"].get("taints")


def _zone(found: Object) -> str:
    return str(found["metadata"]["labels"].get("topology.kubernetes.io/zone"))


if __name__ == "__main__":
    main()
