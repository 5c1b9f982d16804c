"""What a Service wants and what it has, told apart by its nodes: they change most, and are the same for most Services.

So what is remembered of each Service is small, and is compared without building a thousand members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from moorage.ccm.balancers.annotations import Wishes
from moorage.ccm.balancers.desired import Desired, desire
from moorage.ccm.balancers.members import chosen, members_at, same_members
from moorage.ccm.balancers.settings import Settings
from moorage.ccm.balancers.views import Node, Service
from moorage.cloud.balancers import Balancer, Member


@dataclass(frozen=True)
class Reached:
    """`outline` is what was wanted, without members; `nodes` are those. `shown` is the Service's status then.

    `pools` are the ids of the load balancer's pools, as the outline's listeners are ordered. While it is not `settled`
    the members were asked for, and nobody has seen yet that the load balancer took them.
    """

    outline: Desired
    shown: str
    nodes: tuple[Node, ...]
    balancer: str
    pools: tuple[str, ...]
    settled: bool = True

    def has(self, nodes: tuple[Node, ...]) -> bool:
        return same_members(self.nodes, nodes)


@dataclass(frozen=True)
class Wanted:
    """All that a Service wants; its `outline` is without members."""

    outline: Desired
    nodes: tuple[Node, ...]
    service: Service
    wishes: Wishes
    settings: Settings
    subnet: str

    @classmethod
    def of(
        cls,
        service: Service,
        nodes: tuple[Node, ...],
        serving: Collection[str],
        wishes: Wishes,
        settings: Settings,
        subnet: str,
    ) -> Wanted:
        """As `desire`, which says what may be raised."""
        outline = desire(service, (), (), wishes, settings, subnet)
        members = chosen(service, wishes, settings, nodes, serving)
        return cls(outline, nodes if members == nodes else members, service, wishes, settings, subnet)

    def whole(self) -> Desired:
        """With its members."""
        serving = {node.name for node in self.nodes}
        return desire(self.service, self.nodes, serving, self.wishes, self.settings, self.subnet)

    def members(self) -> Iterator[tuple[Member, ...]]:
        """For each listener of the outline."""
        for port in self.service.ports:
            yield members_at(port, self.service, self.wishes, self.settings, self.nodes)

    def reached(self, found: Balancer, shown: str) -> Reached:
        """It is what the load balancer has now."""
        held = {(listener.protocol, listener.port): listener.pool for listener in found.listeners}
        pools = [held[listener.protocol, listener.port] for listener in self.outline.balancer.listeners]
        return Reached(self.outline, shown, self.nodes, found.id, tuple(pool.id if pool else "" for pool in pools))
