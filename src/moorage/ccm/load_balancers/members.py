"""Select the nodes that are members of a Service's pools. Pure and fast: each port may have a thousand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.views import Node, Port, Service
from moorage.cloud.load_balancers import Member


def has_kube_proxy_health_check(service: Service, settings: Settings) -> bool:
    """Whether kube-proxy's health check port can be monitored: for local traffic, if the provider supports another
    monitor port.
    """
    return bool(service.local and service.health_port and "HTTP" in settings.provider.monitors)


def select_nodes(
    service: Service, options: ServiceOptions, settings: Settings, nodes: Iterable[Node], serving: Iterable[str]
) -> tuple[Node, ...]:
    """The nodes that get traffic, by name.

    These are the ready ones, or all when none is ready, because then the control plane is more likely at fault. Local
    traffic goes to nodes with an endpoint: the provider monitors that if it can, else Kubernetes' EndpointSlices
    decide.
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
    """The members of one port's pool for the selected nodes."""
    asked = service.health_port if has_kube_proxy_health_check(service, settings) else None
    subnet, number = options.member_subnet or settings.subnet, port.node_port
    return tuple([Member(node.address, number, subnet, asked, node.name) for node in nodes])


def same_members(one: Sequence[Node], other: Sequence[Node]) -> bool:
    """Whether both give the same members: only names and addresses of nodes matter then."""
    return one == other or [(node.name, node.address) for node in one] == [(n.name, n.address) for n in other]
