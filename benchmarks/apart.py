"""The API and the cloud in memory, in separate processes, as in a real cluster.

So the measured memory and CPU are the controller's only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from multiprocessing.managers import BaseManager
from threading import RLock
from typing import Any

from benchmarks.population import server
from benchmarks.slow import SlowLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.memory.volumes import LIMITS, MemoryVolumes
from moorage.cloud.port.network import Subnet
from moorage.cloud.port.volumes import NewVolume
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import Change, Object, Resource, ResourceList
from moorage.model.errors import CloudUnreachable

PLENTY = 100_000
PUBLIC = Subnet("sub-a", "a", "172.24.0.0/16")


class SharedApi(MemoryKubernetesClient):
    """The API with results that can be sent between processes."""

    def changes(self, resource: Resource, version: str, seconds: float) -> tuple[list[Change], str]:
        """The first changes after that version, at once or within `seconds`; and the version after them."""
        next(self.watch(resource, version, seconds), None)
        found = list(self.watch(resource, version, 0.0))
        return found, found[-1].object["metadata"]["resourceVersion"] if found else version


class SharedCloud:
    """One project. Each call takes `seconds`, and after a change a load balancer is PENDING for `pending` seconds."""

    def __init__(self, nodes: int, volumes: int, seconds: float = 0.0, pending: float = 0.0) -> None:
        network = MemoryNetwork({"public": [PUBLIC]}, floating_quota=PLENTY, rule_quota=PLENTY)
        self.load_balancers = SlowLoadBalancers(pending, on_delete=network.disassociate_port)
        storage = MemoryVolumes(limits=dict.fromkeys(LIMITS, PLENTY))
        servers = MemoryServers(server(number) for number in range(nodes))
        self.ports = {"servers": servers, "load_balancers": self.load_balancers, "network": network, "volumes": storage}
        self.handles = [storage.create(NewVolume(f"pvc-{number}", 1)).id for number in range(volumes)]
        self.seconds, self.calls, self.lock = seconds, Counter[str](), RLock()

    def call(self, port: str, method: str, words: tuple[Any, ...], named: dict[str, Any]) -> Any:
        time.sleep(self.seconds)
        with self.lock:
            self.calls[f"{port}.{method}"] += 1
            return getattr(self.ports[port], method)(*words, **named)

    def called(self) -> Counter[str]:
        """The calls since the last request for them."""
        with self.lock:
            found, self.calls = self.calls, Counter()
            return found

    def volume_handles(self) -> list[str]:
        return self.handles

    def lose(self, id: str) -> None:
        """Delete a server."""
        with self.lock:
            del self.ports["servers"].servers[id]

    def right(self, members: int) -> int:
        """The number of load balancers that are ACTIVE and have that many members on every port."""
        with self.lock:
            return self.load_balancers.right(members)


class Apart(BaseManager):
    """Starts a process with the API or the cloud."""


Apart.register("Api", SharedApi)
Apart.register("Cloud", SharedCloud)


class RemotePort:
    """A port of the cloud in the other process."""

    def __init__(self, cloud: Any, name: str) -> None:
        self._cloud, self._name = cloud, name

    def __getattr__(self, method: str) -> Any:
        return lambda *words, **named: self._cloud.call(self._name, method, words, named)


class RemoteApi:
    """The port `KubernetesClient` for the other process."""

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

    def list(self, resource: Resource, field: str = "") -> ResourceList:
        found: ResourceList = self.shared.list(resource, field)
        return found

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        found: Object = self.shared.patch(resource, key, change, status=status)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shared, name)
