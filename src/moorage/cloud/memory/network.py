"""Networks in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from moorage.cloud.memory.stacks import MemoryStacks
from moorage.cloud.port.network import (
    ClusterNetwork,
    ExternalNetwork,
    FloatingIP,
    NetworkResource,
    Port,
    SecurityGroupRule,
    Subnet,
)
from moorage.cloud.port.quota import Quota
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded

LIMITS = {"networks": 10, "ports": 100, "routers": 10, "security_groups": 20, "floating_ips": 10}


@dataclass
class MemoryNetwork:
    """The port `Network`.

    Faults: `unreachable` is why Neutron does not answer; `floating_quota` and `rule_quota` are maximum numbers;
    `can_choose_address` is whether a project may choose a floating IP's address, which most clouds allow to
    administrators only.
    `calls` are the calls so far.
    """

    subnets_by_network: dict[str, list[Subnet]] = field(default_factory=dict)
    """Subnets by the id of their network."""
    cluster_networks: dict[str, ClusterNetwork] = field(default_factory=dict)
    """By the name of the cluster."""
    floating_quota: int = 50
    rule_quota: int = 1000
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    stacks: MemoryStacks | None = None
    """Where the networks of clusters are."""
    untracked: dict[str, dict[str, NetworkResource]] = field(default_factory=dict)
    """Resources that Heat does not know, by the name of their cluster and their id."""
    untracked_ports: dict[str, tuple[str, Port]] = field(default_factory=dict)
    """Ports that Heat does not know, with their network, by id."""
    can_choose_address: bool = False
    external: tuple[ExternalNetwork, ...] = (ExternalNetwork("external-1", "public"),)
    unreachable: str = ""
    floating: dict[str, FloatingIP] = field(default_factory=dict)
    security_group_rules: dict[str, SecurityGroupRule] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def cluster_network(self, cluster: str) -> ClusterNetwork | None:
        self._record_call("cluster_network")
        return self.cluster_networks.get(cluster)

    def subnet(self, id: str) -> Subnet | None:
        self._record_call("subnet")
        return next(
            (subnet for subnets in self.subnets_by_network.values() for subnet in subnets if subnet.id == id), None
        )

    def subnets(self, network: str) -> list[Subnet]:
        self._record_call("subnets")
        return sorted(self.subnets_by_network.get(network, []), key=lambda subnet: subnet.name)

    def floating_ips(self) -> list[FloatingIP]:
        self._record_call("floating_ips")
        return list(self.floating.values())

    def create_floating_ip(
        self, network: str, subnet: str, port: str, description: str, address: str = ""
    ) -> FloatingIP:
        self._record_call("create_floating_ip")
        if network not in self.subnets_by_network:
            raise BadInput(f"Neutron refused: External network {network} could not be found.")
        if len(self.floating) >= self.floating_quota:
            raise QuotaExceeded("Neutron refused: Quota exceeded for resources: ['floatingip'].")
        if address and not self.can_choose_address:
            raise BadInput("Neutron refused: (rule:create_floatingip:floating_ip_address) is disallowed by policy")
        if any(port and floating_ip.port == port for floating_ip in self.floating.values()):
            raise Conflict(f"Port {port} already has a floating IP.")
        number = next(self._ids)
        created = FloatingIP(f"floating-{number}", address or f"172.24.4.{100 + number}", port, description)
        self.floating[created.id] = created
        return created

    def associate_floating_ip(self, id: str, port: str) -> None:
        self._record_call("associate_floating_ip")
        if any(port and floating_ip.port == port and floating_ip.id != id for floating_ip in self.floating.values()):
            raise Conflict(f"Port {port} already has a floating IP.")
        self._update(id, port=port)

    def set_floating_ip_description(self, id: str, description: str) -> None:
        self._record_call("set_floating_ip_description")
        self._update(id, description=description)

    def delete_floating_ip(self, id: str) -> None:
        self._record_call("delete_floating_ip")
        self.floating.pop(id, None)

    def rules(self, group: str) -> list[SecurityGroupRule]:
        self._record_call("rules")
        return [rule for rule in self.security_group_rules.values() if rule.group == group]

    def create_rule(self, rule: SecurityGroupRule) -> None:
        self._record_call("create_rule")
        if len(self.security_group_rules) >= self.rule_quota:
            raise QuotaExceeded("Neutron refused: Quota exceeded for resources: ['security_group_rule'].")
        if any(_is_same_rule(rule, existing) for existing in self.security_group_rules.values()):
            raise Conflict("Security group rule already exists.")
        id = f"rule-{next(self._ids)}"
        self.security_group_rules[id] = replace(rule, id=id)

    def delete_rule(self, id: str) -> None:
        self._record_call("delete_rule")
        self.security_group_rules.pop(id, None)

    def owned(self, cluster: str) -> list[NetworkResource]:
        self._record_call("owned")
        created = self.stacks.network_resources(cluster) if self.stacks else []
        return [*created, *self.untracked.get(cluster, {}).values()]

    def ports(self, networks: Iterable[str]) -> list[Port]:
        self._record_call("ports")
        wanted = [*networks]
        created = self.stacks.ports(wanted) if self.stacks else []
        return [*created, *(port for network, port in self.untracked_ports.values() if network in wanted)]

    def detach_port(self, port: str, router: str) -> None:
        self._record_call("detach_port")
        self._delete_port(port)

    def delete_port(self, id: str) -> None:
        self._record_call("delete_port")
        self._delete_port(id)

    def _delete_port(self, id: str) -> None:
        self.untracked_ports.pop(id, None)
        if self.stacks:
            self.stacks.delete_network_resource(id)

    def delete(self, resource: NetworkResource) -> None:
        self._record_call("delete")
        if any(network == resource.id for network, _ in self.untracked_ports.values()):
            raise Conflict(f"Unable to complete operation on network {resource.id}: one or more ports in use.")
        for resources in self.untracked.values():
            resources.pop(resource.id, None)
        if self.stacks:
            self.stacks.delete_network_resource(resource.id)

    def external_networks(self) -> list[ExternalNetwork]:
        self._record_call("external_networks")
        return [*self.external]

    def quotas(self) -> dict[str, Quota]:
        self._record_call("quotas")
        return {name: Quota(0, limit) for name, limit in self.limits.items()}

    def disassociate_port(self, port: str) -> None:
        """What Neutron does when a port is deleted."""
        for floating_ip in list(self.floating.values()):
            if floating_ip.port == port:
                self._update(floating_ip.id, port="")

    def _update(self, id: str, **fields: str) -> None:
        if id not in self.floating:
            raise NotFound(f"Neutron has no floating IP {id}")
        self.floating[id] = replace(self.floating[id], **fields)

    def _record_call(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])


def _is_same_rule(one: SecurityGroupRule, other: SecurityGroupRule) -> bool:
    return replace(one, id="", description="") == replace(other, id="", description="")
