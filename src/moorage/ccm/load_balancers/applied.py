"""A Service's desired and applied state, with the nodes apart: they change most, and most Services have the same ones.

So the state that is kept for each Service is small, and comparing it does not need a thousand members.
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
    """`outline` is the desired load balancer without members; `nodes` are the members' nodes. `shown` is the Service's
    status then.

    `pools` are the ids of the load balancer's pools, in the order of the outline's listeners. While it is not
    `settled`, the members were sent, and no read has shown yet that the load balancer has them.
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
    """The desired state of a Service; its `outline` has no members."""

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
        """Raises as `desire` does."""
        outline = desire(service, (), (), options, settings, subnet)
        members = select_nodes(service, options, settings, nodes, serving)
        return cls(outline, nodes if members == nodes else members, service, options, settings, subnet)

    def with_members(self) -> DesiredLoadBalancer:
        """The desired load balancer with its members."""
        serving = {node.name for node in self.nodes}
        return desire(self.service, self.nodes, serving, self.options, self.settings, self.subnet)

    def members(self) -> Iterator[tuple[Member, ...]]:
        """The members for each listener of the outline."""
        for port in self.service.ports:
            yield members_at(port, self.service, self.options, self.settings, self.nodes)

    def applied(self, found: LoadBalancer, shown: str) -> AppliedState:
        """The state to keep once the load balancer is as desired."""
        held = {(listener.protocol, listener.port): listener.pool for listener in found.listeners}
        pools = [held[listener.protocol, listener.port] for listener in self.outline.load_balancer.listeners]
        return AppliedState(self.outline, shown, self.nodes, found.id, tuple(pool.id if pool else "" for pool in pools))
