"""What a Service wants and what it has, told apart by its nodes: they change most, and are the same for most Services.

So what is remembered of each Service is small, and is compared without building a thousand members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.desired import DesiredLoadBalancer, desire
from moorage.ccm.load_balancers.members import members_at, same_members, select_nodes
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.views import Node, Service
from moorage.cloud.load_balancers import LoadBalancer, Member


@dataclass(frozen=True)
class AppliedState:
    """`outline` is what was wanted, without members; `nodes` are those. `shown` is the Service's status then.

    `pools` are the ids of the load balancer's pools, as the outline's listeners are ordered. While it is not `settled`
    the members were asked for, and nobody has seen yet that the load balancer took them.
    """

    outline: DesiredLoadBalancer
    shown: str
    nodes: tuple[Node, ...]
    load_balancer: str
    pools: tuple[str, ...]
    settled: bool = True

    def has(self, nodes: tuple[Node, ...]) -> bool:
        return same_members(self.nodes, nodes)


@dataclass(frozen=True)
class DesiredState:
    """All that a Service wants; its `outline` is without members."""

    outline: DesiredLoadBalancer
    nodes: tuple[Node, ...]
    service: Service
    options: ServiceOptions
    settings: Settings
    subnet: str

    @classmethod
    def of(
        cls,
        service: Service,
        nodes: tuple[Node, ...],
        serving: Collection[str],
        options: ServiceOptions,
        settings: Settings,
        subnet: str,
    ) -> DesiredState:
        """As `desire`, which says what may be raised."""
        outline = desire(service, (), (), options, settings, subnet)
        members = select_nodes(service, options, settings, nodes, serving)
        return cls(outline, nodes if members == nodes else members, service, options, settings, subnet)

    def with_members(self) -> DesiredLoadBalancer:
        """With its members."""
        serving = {node.name for node in self.nodes}
        return desire(self.service, self.nodes, serving, self.options, self.settings, self.subnet)

    def members(self) -> Iterator[tuple[Member, ...]]:
        """For each listener of the outline."""
        for port in self.service.ports:
            yield members_at(port, self.service, self.options, self.settings, self.nodes)

    def applied(self, found: LoadBalancer, shown: str) -> AppliedState:
        """It is what the load balancer has now."""
        held = {(listener.protocol, listener.port): listener.pool for listener in found.listeners}
        pools = [held[listener.protocol, listener.port] for listener in self.outline.load_balancer.listeners]
        return AppliedState(self.outline, shown, self.nodes, found.id, tuple(pool.id if pool else "" for pool in pools))
