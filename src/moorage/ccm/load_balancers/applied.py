"""The desired and the applied state of a Service, separated from its nodes.

Nodes change most often and are the same for most Services. So the remembered state of each Service is small, and a
comparison does not build a thousand members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.desired import DesiredLoadBalancer, build_desired
from moorage.ccm.load_balancers.members import build_members, have_same_members, select_nodes
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.views import Node, Service
from moorage.cloud.port.load_balancers import LoadBalancer, Member


@dataclass(frozen=True)
class AppliedState:
    """`outline` is the applied load balancer without members; `nodes` are its members. `status` is the Service's.

    `pools` are the ids of the load balancer's pools, in the order of the outline's listeners. `confirmed` is False
    after new members were sent, until the load balancer was seen to be ACTIVE.
    """

    outline: DesiredLoadBalancer
    status: str
    nodes: tuple[Node, ...]
    load_balancer: str
    pools: tuple[str, ...]
    confirmed: bool = True

    def has_members(self, nodes: tuple[Node, ...]) -> bool:
        return have_same_members(self.nodes, nodes)


@dataclass(frozen=True)
class DesiredState:
    """The desired load balancer of a Service, as an `outline` without members and the `nodes`."""

    outline: DesiredLoadBalancer
    nodes: tuple[Node, ...]
    service: Service
    options: ServiceOptions
    settings: Settings
    subnet: str

    @classmethod
    def build(
        cls,
        service: Service,
        nodes: tuple[Node, ...],
        endpoint_nodes: Collection[str],
        options: ServiceOptions,
        settings: Settings,
        subnet: str,
    ) -> DesiredState:
        """Raises what `build_desired` raises."""
        outline = build_desired(service, (), (), options, settings, subnet)
        members = select_nodes(service, options, settings, nodes, endpoint_nodes)
        return cls(outline, nodes if members == nodes else members, service, options, settings, subnet)

    def with_members(self) -> DesiredLoadBalancer:
        endpoint_nodes = {node.name for node in self.nodes}
        return build_desired(self.service, self.nodes, endpoint_nodes, self.options, self.settings, self.subnet)

    def members(self) -> Iterator[tuple[Member, ...]]:
        """The members for each listener of the outline."""
        for port in self.service.ports:
            yield build_members(port, self.service, self.options, self.settings, self.nodes)

    def applied(self, load_balancer: LoadBalancer, status: str) -> AppliedState:
        """The applied state, once the load balancer matches the desired one."""
        by_port = {(listener.protocol, listener.port): listener.pool for listener in load_balancer.listeners}
        pools = [by_port[listener.protocol, listener.port] for listener in self.outline.load_balancer.listeners]
        pool_ids = tuple(pool.id if pool else "" for pool in pools)
        return AppliedState(self.outline, status, self.nodes, load_balancer.id, pool_ids)
