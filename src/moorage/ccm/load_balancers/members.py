"""Which nodes are the members of a Service's pools. Pure, and quick: there may be a thousand for each of its ports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.views import Node, Port, Service
from moorage.cloud.load_balancers import Member


def has_kube_proxy_health_check(service: Service, settings: Settings) -> bool:
    """Local traffic where the provider can ask each node on another port than the one that traffic goes to."""
    return bool(service.local and service.health_port and "HTTP" in settings.provider.monitors)


def select_nodes(
    service: Service, options: ServiceOptions, settings: Settings, nodes: Iterable[Node], serving: Iterable[str]
) -> tuple[Node, ...]:
    """The nodes that traffic goes to, by name.

    Those that are ready; all when none is, for then rather the control plane is in trouble. Local traffic goes to
    nodes with an endpoint, by their own word where the provider can ask them, else by what Kubernetes says.
    """
    there = sorted(nodes, key=lambda node: node.name)
    if options.node_selector:
        there = [node for node in there if all(node.labels.get(k) == v for k, v in options.node_selector)]
    if service.local and not has_kube_proxy_health_check(service, settings):
        names = frozenset(serving)
        there = [node for node in there if node.name in names]
    return tuple([node for node in there if node.ready] or there)


def members_at(
    port: Port, service: Service, options: ServiceOptions, settings: Settings, nodes: Sequence[Node]
) -> tuple[Member, ...]:
    """Of the pool of one port, when these nodes were chosen."""
    asked = service.health_port if has_kube_proxy_health_check(service, settings) else None
    subnet, number = options.member_subnet or settings.subnet, port.node_port
    return tuple([Member(node.address, number, subnet, asked, node.name) for node in nodes])


def same_members(one: Sequence[Node], other: Sequence[Node]) -> bool:
    """Whether both give the same members: of a node only its name and its address count then."""
    return one == other or [(node.name, node.address) for node in one] == [(n.name, n.address) for n in other]
