"""Selects the nodes that are members of a Service's pools. Pure, and fast: each port may have a thousand members."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.views import Node, Port, Service
from moorage.cloud.port.load_balancers import Member


def uses_kube_proxy_health_check(service: Service, settings: Settings) -> bool:
    """Whether the provider checks each node of a Service with local traffic on the Service's health-check node port."""
    return bool(service.local and service.health_port and "HTTP" in settings.provider.monitors)


def select_nodes(
    service: Service, options: ServiceOptions, settings: Settings, nodes: Iterable[Node], endpoint_nodes: Iterable[str]
) -> tuple[Node, ...]:
    """The nodes that receive traffic, by name.

    These are the nodes that are Ready; all nodes if none is, because then a failed control plane is more likely. Local
    traffic needs a ready endpoint on the node: the provider checks that itself where it can, else it is read from the
    EndpointSlices (`endpoint_nodes`).
    """
    selected = sorted(nodes, key=lambda node: node.name)
    if options.node_selector:
        selected = [node for node in selected if all(node.labels.get(k) == v for k, v in options.node_selector)]
    if service.local and not uses_kube_proxy_health_check(service, settings):
        names = frozenset(endpoint_nodes)
        selected = [node for node in selected if node.name in names]
    return tuple([node for node in selected if node.ready] or selected)


def build_members(
    port: Port, service: Service, options: ServiceOptions, settings: Settings, nodes: Sequence[Node]
) -> tuple[Member, ...]:
    """The members of one port's pool, given the selected nodes."""
    monitor_port = service.health_port if uses_kube_proxy_health_check(service, settings) else None
    subnet, node_port = options.member_subnet or settings.subnet, port.node_port
    return tuple([Member(node.address, node_port, subnet, monitor_port, node.name) for node in nodes])


def have_same_members(one: Sequence[Node], other: Sequence[Node]) -> bool:
    """Whether both give the same members, which depend only on the names and addresses of the nodes."""
    return one == other or [(node.name, node.address) for node in one] == [(n.name, n.address) for n in other]
