"""Floating IPs and security group rules in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from moorage.cloud.network import ClusterNetwork, FloatingIP, SecurityGroupRule, Subnet
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded


@dataclass
class MemoryNetwork:
    """The port `Network`.

    Faults: `unreachable` is why Neutron does not answer; `floating_quota` and `rule_quota` are maximum numbers;
    `choosing` is whether a project may choose a floating IP's address, which most clouds allow to administrators only.
    `asked` are the calls so far.
    """

    known: dict[str, list[Subnet]] = field(default_factory=dict)
    """Subnets by the id of their network."""
    cluster_networks: dict[str, ClusterNetwork] = field(default_factory=dict)
    """By the name of the cluster."""
    floating_quota: int = 50
    rule_quota: int = 1000
    choosing: bool = False
    unreachable: str = ""
    floating: dict[str, FloatingIP] = field(default_factory=dict)
    let_in: dict[str, SecurityGroupRule] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def cluster_network(self, cluster: str) -> ClusterNetwork | None:
        self._answer("cluster_network")
        return self.cluster_networks.get(cluster)

    def subnet(self, id: str) -> Subnet | None:
        self._answer("subnet")
        return next((subnet for subnets in self.known.values() for subnet in subnets if subnet.id == id), None)

    def subnets(self, network: str) -> list[Subnet]:
        self._answer("subnets")
        return sorted(self.known.get(network, []), key=lambda subnet: subnet.name)

    def floating_ips(self) -> list[FloatingIP]:
        self._answer("floating_ips")
        return list(self.floating.values())

    def create_floating_ip(
        self, network: str, subnet: str, port: str, description: str, address: str = ""
    ) -> FloatingIP:
        self._answer("create_floating_ip")
        if network not in self.known:
            raise BadInput(f"Neutron refused: External network {network} could not be found.")
        if len(self.floating) >= self.floating_quota:
            raise QuotaExceeded("Neutron refused: Quota exceeded for resources: ['floatingip'].")
        if address and not self.choosing:
            raise BadInput("Neutron refused: (rule:create_floatingip:floating_ip_address) is disallowed by policy")
        if any(port and found.port == port for found in self.floating.values()):
            raise Conflict(f"Port {port} already has a floating IP.")
        number = next(self._ids)
        made = FloatingIP(f"floating-{number}", address or f"172.24.4.{100 + number}", port, description)
        self.floating[made.id] = made
        return made

    def associate_floating_ip(self, id: str, port: str) -> None:
        self._answer("associate_floating_ip")
        if any(port and found.port == port and found.id != id for found in self.floating.values()):
            raise Conflict(f"Port {port} already has a floating IP.")
        self._change(id, port=port)

    def set_floating_ip_description(self, id: str, description: str) -> None:
        self._answer("set_floating_ip_description")
        self._change(id, description=description)

    def delete_floating_ip(self, id: str) -> None:
        self._answer("delete_floating_ip")
        self.floating.pop(id, None)

    def rules(self, group: str) -> list[SecurityGroupRule]:
        self._answer("rules")
        return [rule for rule in self.let_in.values() if rule.group == group]

    def create_rule(self, rule: SecurityGroupRule) -> None:
        self._answer("create_rule")
        if len(self.let_in) >= self.rule_quota:
            raise QuotaExceeded("Neutron refused: Quota exceeded for resources: ['security_group_rule'].")
        if any(_same(rule, held) for held in self.let_in.values()):
            raise Conflict("Security group rule already exists.")
        id = f"rule-{next(self._ids)}"
        self.let_in[id] = replace(rule, id=id)

    def delete_rule(self, id: str) -> None:
        self._answer("delete_rule")
        self.let_in.pop(id, None)

    def unmap(self, port: str) -> None:
        """What Neutron does when a port is deleted."""
        for found in list(self.floating.values()):
            if found.port == port:
                self._change(found.id, port="")

    def _change(self, id: str, **words: str) -> None:
        if id not in self.floating:
            raise NotFound(f"Neutron knows no floating IP {id}")
        self.floating[id] = replace(self.floating[id], **words)

    def _answer(self, call: str) -> None:
        self.asked.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable)


def _same(one: SecurityGroupRule, other: SecurityGroupRule) -> bool:
    return replace(one, id="", description="") == replace(other, id="", description="")
