"""The parts of a Service, a Node and an EndpointSlice that load balancers depend on, as plain dataclasses.

Each version of a node is parsed once, because many Services use many nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moorage.kube.port import NODES, Object, Resource
from moorage.kube.store import Store

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
DRAINED = "ToBeDeletedByClusterAutoscaler"  # the autoscaler's taint on a node that it drains
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"  # the annotation that preceded the field


@dataclass(frozen=True)
class Port:
    """`protocol` is TCP, UDP or SCTP; `node_port` is 0 when Kubernetes allocated none."""

    protocol: str
    port: int
    node_port: int


@dataclass(frozen=True)
class Service:
    """A Service's spec; `address` is its loadBalancerIP, `status_addresses` are the addresses in its status."""

    namespace: str
    name: str
    is_load_balancer: bool = True
    deleting: bool = False
    has_finalizer: bool = False
    load_balancer_class: str = ""
    ports: tuple[Port, ...] = ()
    local: bool = False
    health_port: int = 0
    sticky: bool = False
    source_ranges: tuple[str, ...] = ()
    address: str = ""
    families: tuple[str, ...] = ("IPv4",)
    status_addresses: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_load_balancer(self) -> bool:
        return self.is_load_balancer and not self.deleting


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    ready: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)


def parse_service(service: Object) -> Service:
    metadata, spec = service["metadata"], service.get("spec", {})
    annotations = metadata.get("annotations") or {}
    ingress = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    return Service(
        namespace=metadata["namespace"],
        name=metadata["name"],
        is_load_balancer=spec.get("type") == "LoadBalancer",
        deleting=bool(metadata.get("deletionTimestamp")),
        has_finalizer=FINALIZER in (metadata.get("finalizers") or ()),
        load_balancer_class=spec.get("loadBalancerClass") or "",
        ports=tuple(_parse_port(port) for port in spec.get("ports") or ()),
        local=spec.get("externalTrafficPolicy") == "Local",
        health_port=spec.get("healthCheckNodePort") or 0,
        sticky=spec.get("sessionAffinity") == "ClientIP",
        source_ranges=_parse_ranges(spec, annotations),
        address=spec.get("loadBalancerIP") or "",
        families=tuple(spec.get("ipFamilies") or ("IPv4",)),
        status_addresses=tuple(entry["ip"] for entry in ingress if entry.get("ip")),
        annotations=annotations,
    )


def _parse_port(port: Mapping[str, Any]) -> Port:
    return Port(port.get("protocol") or "TCP", port["port"], port.get("nodePort") or 0)


def _parse_ranges(spec: Object, annotations: Mapping[str, str]) -> tuple[str, ...]:
    ranges = spec.get("loadBalancerSourceRanges") or annotations.get(RANGES, "").split(",")
    return tuple(text.strip() for text in ranges if text.strip())


def parse_node(node: Object) -> Node | None:
    """None for a node without traffic: it is excluded, drained, being deleted, or has no IPv4 address yet."""
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    labels = metadata.get("labels") or {}
    leaving = metadata.get("deletionTimestamp") or any(taint["key"] == DRAINED for taint in spec.get("taints") or ())
    internal = [entry["address"] for entry in status.get("addresses") or () if entry["type"] == "InternalIP"]
    address = next((text for text in internal if ":" not in text), "")
    if EXCLUDED in labels or leaving or not address:
        return None
    ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status.get("conditions") or ())
    return Node(metadata["name"], address, ready, labels)


def nodes_with_endpoints(slices: Iterable[Object]) -> frozenset[str]:
    """Names of the nodes with a ready endpoint of the Service."""
    endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or ()]
    return frozenset(endpoint["nodeName"] for endpoint in endpoints if endpoint.get("nodeName") and _is_ready(endpoint))


def _is_ready(endpoint: Mapping[str, Any]) -> bool:
    """Kubernetes defines that an endpoint without the condition `ready` is ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


class TargetNodes:
    """Used by many threads: a race at worst parses a node twice."""

    def __init__(self, nodes: Store) -> None:
        self.nodes = nodes
        self._parsed: dict[str, tuple[str, Node | None]] = {}
        self._reported: dict[str, Node | None] = {}
        self._last: tuple[Node, ...] = ()

    def all(self) -> tuple[Node, ...]:
        """The nodes by name; the same tuple as before if none has changed, because every Service keeps a reference."""
        views = [view for node in self.nodes.all() if (view := self._view(node)) is not None]
        current, last = tuple(sorted(views, key=lambda view: view.name)), self._last
        if current != last:
            self._last = last = current
        return last

    def has_changed(self, node: Object) -> bool:
        """Whether the node changed in what load balancers depend on since the last call; most updates do not."""
        name = node["metadata"]["name"]
        new = self._view(node) if self.nodes.get(name) is not None else None
        if new is None:
            self._parsed.pop(name, None)
        old = self._reported.pop(name, None)
        if new is not None:
            self._reported[name] = new
        return new != old

    def _view(self, node: Object) -> Node | None:
        name, version = node["metadata"]["name"], node["metadata"].get("resourceVersion", "")
        cached = self._parsed.get(name)
        if cached is None or cached[0] != version:
            cached = self._parsed[name] = (version, parse_node(node))
        return cached[1]


@dataclass
class NodeChanges:
    """Wakes the reconciler for the `affected` Services when a node changed in what load balancers depend on.

    It gathers all changes within `gather` seconds: when a rack fails or a cluster starts, each Service is reconciled
    once, not once for each node.
    """

    targets: TargetNodes
    affected: Callable[[], Iterable[str]]
    wake: Callable[[str], None]
    name: str = "load-balancer-nodes"
    watches: tuple[Resource, ...] = (NODES,)
    gather: float = 0.2

    def keys_for(self, resource: Resource, found: Object) -> Iterable[str]:
        """Empty for most updates of a node."""
        return ("all",) if self.targets.has_changed(found) else ()

    def reconcile(self, key: str) -> float | None:
        for service in self.affected():
            self.wake(service)
        return None
