"""Servers in memory."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from dataclasses import replace

from moorage.cloud.port.quota import Quota
from moorage.cloud.port.servers import Flavor, Server, own_servers
from moorage.model.errors import CloudUnreachable

FLAVORS = (Flavor("m1.small", "f1", 1, 1024, 6), Flavor("m1.node", "f2", 2, 2048, 10))
LIMITS = {"instances": 20, "cores": 40, "ram": 65536}


class MemoryServers:
    """The port `Servers`. Every server uses 2 cores and 2048 MB of the quota.

    Faults: `unreachable` is why Nova does not answer; `unlisted` are ids that lists omit, as an incomplete answer
    does. `calls` are the calls so far.
    """

    def __init__(self, servers: Iterable[Server] = ()) -> None:
        self.servers = {server.id: server for server in servers}
        self.flavor_list: Sequence[Flavor] = FLAVORS
        self.limits = dict(LIMITS)
        self.unreachable = ""
        self.unlisted: set[str] = set()
        self.calls: list[str] = []

    def list(self, cluster: str = "") -> builtins.list[Server]:
        self._record_call("list")
        listed = (server for server in self._all() if server.id not in self.unlisted)
        named = (server for server in listed if not cluster or server.name.startswith(f"{cluster}-"))
        return own_servers(named, cluster)

    def get(self, id: str) -> Server | None:
        self._record_call("get")
        return next((server for server in self._all() if server.id == id), None)

    def delete(self, id: str) -> None:
        self._record_call("delete")
        self.servers.pop(id, None)

    def flavors(self) -> builtins.list[Flavor]:
        self._record_call("flavors")
        return [*self.flavor_list]

    def zones(self) -> builtins.list[str]:
        self._record_call("zones")
        return ["nova"]

    def quotas(self) -> dict[str, Quota]:
        self._record_call("quotas")
        number = len([*self._all()])
        used = {"instances": number, "cores": 2 * number, "ram": 2048 * number}
        return {name: Quota(used[name], limit) for name, limit in self.limits.items()}

    def set_status(self, id: str, status: str) -> None:
        """Set a server's status."""
        self.servers[id] = replace(self.servers[id], status=status)

    def _all(self) -> Iterable[Server]:
        return self.servers.values()

    def _record_call(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])
