"""The port for servers: Nova."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from moorage.cloud.port.quota import Quota
from moorage.model.ownership import CLUSTER_MARK


@dataclass(frozen=True)
class Address:
    """An IP address of a server: `fixed` is its port's own, `floating` is associated with it."""

    kind: Literal["fixed", "floating"]
    ip: str


@dataclass(frozen=True)
class Server:
    """A Nova server. `status` is Nova's, such as ACTIVE or SHUTOFF; addresses are in Nova's order.

    `fault` is Nova's message when the status is ERROR.
    """

    id: str
    name: str
    status: str
    flavor: str = ""
    zone: str = ""
    addresses: tuple[Address, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def address(self) -> str:
        """The first fixed address; empty without one."""
        return next((address.ip for address in self.addresses if address.kind == "fixed"), "")


@dataclass(frozen=True)
class Flavor:
    """`memory` in MB, `disk` in GB; `traits` are those that it requires of a host."""

    name: str
    id: str
    vcpus: int
    memory: int
    disk: int
    traits: frozenset[str] = frozenset()


def own_servers(servers: Iterable[Server], cluster: str) -> list[Server]:
    """Those that a cluster created, or any cluster if no name is given, by name."""
    marks = ((server, server.metadata.get(CLUSTER_MARK, "")) for server in servers)
    own = (server for server, mark in marks if mark and cluster in ("", mark))
    return sorted(own, key=lambda server: server.name)


class Servers(Protocol):
    """The servers of one project. Every call may raise CloudUnreachable."""

    def list(self, cluster: str = "") -> builtins.list[Server]:
        """The servers with this cluster's metadata, or with that of any cluster, by name: one call for a thousand.

        With a cluster it lacks a server that a user gave a name without the cluster's; `get` has it.
        """
        ...

    def get(self, id: str) -> Server | None:
        """One server, None when it is deleted."""
        ...

    def delete(self, id: str) -> None:
        """Request a server's deletion, without waiting; does nothing when it does not exist or is being deleted."""
        ...

    def flavors(self) -> builtins.list[Flavor]: ...

    def zones(self) -> builtins.list[str]:
        """The availability zones in which servers can be created."""
        ...

    def quotas(self) -> dict[str, Quota]:
        """By name: instances, cores, ram (MB)."""
        ...
