"""The parts of a Service, a Node and an EndpointSlice that load balancers depend on, as plain dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moorage.kube.port import Object

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
