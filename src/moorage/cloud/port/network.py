"""The port for networks: Neutron."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from moorage.cloud.port.quota import Quota


@dataclass(frozen=True)
class Subnet:
    """A subnet; `cidr` is text such as 10.0.0.0/24."""

    id: str
    name: str
    cidr: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExternalNetwork:
    """A network that gives floating IPs."""

    id: str
    name: str


@dataclass(frozen=True)
class ClusterNetwork:
    """A cluster's network: the nodes' subnet, the id of their security group, and the id of the external network of
    their router, which may be empty.
    """

    subnet: Subnet
    group: str
    external_network: str = ""


@dataclass(frozen=True)
class FloatingIP:
    """A floating IP; `port` is empty without an association. The description names its owner."""

    id: str
    address: str
    port: str = ""
    description: str = ""


@dataclass(frozen=True)
class SecurityGroupRule:
    """Allows traffic from `cidr` to one port of the security group's members. `protocol` is tcp, udp or sctp."""

    group: str
    protocol: str
    port: int
    cidr: str
    description: str = ""
    id: str = ""


@dataclass(frozen=True)
class NetworkResource:
    """A "floating IP", "router", "network" or "security group"; `name` is an address where it has no name."""

    kind: str
    id: str
    name: str = ""


@dataclass(frozen=True)
class Port:
    """A port. `owner` is Neutron's device_owner, such as compute:nova, and `device` the id of the server or router."""

    id: str
    owner: str = ""
    device: str = ""


class Network(Protocol):
    """The network resources of one project.

    Every call may raise CloudUnreachable (no response: try again). Calls that create something may raise Conflict (it
    exists, or the address is in use), BadInput (rejected) and QuotaExceeded. Deletions of missing objects do nothing.
    """

    def cluster_network(self, cluster: str) -> ClusterNetwork | None:
        """The cluster's network, by names and descriptions (`model.ownership.owned_by`); None if there is none."""
        ...

    def subnet(self, id: str) -> Subnet | None: ...

    def subnets(self, network: str) -> list[Subnet]:
        """The subnets of a network, by name."""
        ...

    def floating_ips(self) -> list[FloatingIP]:
        """All floating IPs of the project, in one call."""
        ...

    def create_floating_ip(
        self, network: str, subnet: str, port: str, description: str, address: str = ""
    ) -> FloatingIP:
        """Create one on an external network and associate it; Neutron chooses an empty subnet or address."""
        ...

    def associate_floating_ip(self, id: str, port: str) -> None:
        """Associate it with a port, or with none when that is empty. NotFound when it does not exist."""
        ...

    def set_floating_ip_description(self, id: str, description: str) -> None:
        """NotFound when it does not exist."""
        ...

    def delete_floating_ip(self, id: str) -> None: ...

    def rules(self, group: str) -> list[SecurityGroupRule]:
        """The rules of a security group that allow one port from a range of addresses; other rules are left out."""
        ...

    def create_rule(self, rule: SecurityGroupRule) -> None:
        """Conflict when the same rule exists."""
        ...

    def delete_rule(self, id: str) -> None: ...

    def owned(self, cluster: str) -> list[NetworkResource]:
        """The resources of all kinds with the description of this cluster's (`model.ownership.owned_by`)."""
        ...

    def ports(self, networks: Iterable[str]) -> list[Port]:
        """The ports in these networks, by id, in one call."""
        ...

    def detach_port(self, port: str, router: str) -> None:
        """Detach a port from a router, which deletes the port; does nothing when it is not attached."""
        ...

    def delete_port(self, id: str) -> None:
        """Delete a port, also one of a deleted server."""
        ...

    def delete(self, resource: NetworkResource) -> None:
        """Conflict when it is in use."""
        ...

    def external_networks(self) -> list[ExternalNetwork]: ...

    def quotas(self) -> dict[str, Quota]:
        """By name: networks, ports, routers, security_groups, floating_ips."""
        ...
