"""Servers in memory."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import replace

from moorage.cloud.servers import Instance
from moorage.model.errors import CloudUnreachable


class MemoryInstances:
    """The port `Instances`.

    Faults: `unreachable` is why the cloud does not answer; `unlisted` are ids that lists omit, as an incomplete
    answer does. `calls` are the calls so far.
    """

    def __init__(self, servers: Iterable[Instance] = ()) -> None:
        self.servers = {server.id: server for server in servers}
        self.unreachable = ""
        self.unlisted: set[str] = set()
        self.calls: list[str] = []

    def list(self, cluster: str) -> builtins.list[Instance]:
        self._record_call("list")
        listed = (server for server in self.servers.values() if server.id not in self.unlisted)
        return [server for server in listed if server.metadata.get("moorage_cluster") == cluster]

    def get(self, id: str) -> Instance | None:
        self._record_call("get")
        return self.servers.get(id)

    def set_status(self, id: str, status: str) -> None:
        """Set a server's status."""
        self.servers[id] = replace(self.servers[id], status=status)

    def _record_call(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable)
