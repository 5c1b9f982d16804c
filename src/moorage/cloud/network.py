"""What stands before a load balancer and its members in Neutron: floating IPs and security group rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Subnet:
    """A subnet, as text; `cidr` as in 10.0.0.0/24."""

    id: str
    name: str
    cidr: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterNetwork:
    """Where a cluster's nodes are: their subnet, the id of the security group that all of them have, and the id of the
    network outside of their router, empty without one."""

    subnet: Subnet
    group: str
    external_network: str = ""


@dataclass(frozen=True)
class FloatingIP:
    """A floating IP; `port` is empty while it is mapped to none. The description says whose it is."""

    id: str
    address: str
    port: str = ""
    description: str = ""


@dataclass(frozen=True)
class SecurityGroupRule:
    """Lets traffic in to one port of what has the security group, from `cidr`. `protocol` is tcp, udp or sctp."""

    group: str
    protocol: str
    port: int
    cidr: str
    description: str = ""
    id: str = ""


class Network(Protocol):
    """Of one project.

    Every call may raise CloudUnreachable (no answer: try again), those that make something Conflict (it is there
    already, or the address is in use), BadInput (refused) and QuotaExceeded. Deletions of what is gone do nothing.
    """

    def cluster_network(self, cluster: str) -> ClusterNetwork | None:
        """Known by names and descriptions (`model.ownership.owned_by`); None where there is no such cluster."""
        ...

    def subnet(self, id: str) -> Subnet | None: ...

    def subnets(self, network: str) -> list[Subnet]:
        """Of a network, by name."""
        ...

    def floating_ips(self) -> list[FloatingIP]:
        """All of the project: one call, whichever of them are looked for."""
        ...

    def create_floating_ip(
        self, network: str, subnet: str, port: str, description: str, address: str = ""
    ) -> FloatingIP:
        """Make one of an external network and map it to a port; subnet and address are the cloud's choice if empty."""
        ...

    def associate_floating_ip(self, id: str, port: str) -> None:
        """Map it to another port, to none when that is empty. NotFound when it is gone."""
        ...

    def set_floating_ip_description(self, id: str, description: str) -> None:
        """NotFound when it is gone."""
        ...

    def delete_floating_ip(self, id: str) -> None: ...

    def rules(self, group: str) -> list[SecurityGroupRule]:
        """Rules of a security group that let one port in from a range of addresses; others are left out."""
        ...

    def create_rule(self, rule: SecurityGroupRule) -> None:
        """Conflict when the same rule is there already."""
        ...

    def delete_rule(self, id: str) -> None: ...
