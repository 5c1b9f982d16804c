"""The parts of a Service, a Node and an EndpointSlice that matter to load balancers, as dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moorage.kube.objects import Object

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
LEAVING = "ToBeDeletedByClusterAutoscaler"  # the cluster autoscaler's taint on a node that it drains
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"  # older than the field of the spec


@dataclass(frozen=True)
class Port:
    """`protocol` is TCP, UDP or SCTP; `node_port` 0 when Kubernetes assigned none."""

    protocol: str
    port: int
    node_port: int


@dataclass(frozen=True)
class Service:
    """A Service's spec; `shown` are the addresses in its status."""

    namespace: str
    name: str
    balanced: bool = True
    leaving: bool = False
    held: bool = False
    load_balancer_class: str = ""
    ports: tuple[Port, ...] = ()
    local: bool = False
    health_port: int = 0
    sticky: bool = False
    ranges: tuple[str, ...] = ()
    address: str = ""
    families: tuple[str, ...] = ("IPv4",)
    shown: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether it must have a load balancer; otherwise it must have none."""
        return self.balanced and not self.leaving


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    ready: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)


def service_of(found: Object) -> Service:
    metadata, spec = found["metadata"], found.get("spec", {})
    annotations = metadata.get("annotations") or {}
    ingress = (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    return Service(
        namespace=metadata["namespace"],
        name=metadata["name"],
        balanced=spec.get("type") == "LoadBalancer",
        leaving=bool(metadata.get("deletionTimestamp")),
        held=FINALIZER in (metadata.get("finalizers") or ()),
        load_balancer_class=spec.get("loadBalancerClass") or "",
        ports=tuple(_port(port) for port in spec.get("ports") or ()),
        local=spec.get("externalTrafficPolicy") == "Local",
        health_port=spec.get("healthCheckNodePort") or 0,
        sticky=spec.get("sessionAffinity") == "ClientIP",
        ranges=_ranges(spec, annotations),
        address=spec.get("loadBalancerIP") or "",
        families=tuple(spec.get("ipFamilies") or ("IPv4",)),
        shown=tuple(entry["ip"] for entry in ingress if entry.get("ip")),
        annotations=annotations,
    )


def _port(port: Mapping[str, Any]) -> Port:
    return Port(port.get("protocol") or "TCP", port["port"], port.get("nodePort") or 0)


def _ranges(spec: Object, annotations: Mapping[str, str]) -> tuple[str, ...]:
    given = spec.get("loadBalancerSourceRanges") or annotations.get(RANGES, "").split(",")
    return tuple(text.strip() for text in given if text.strip())


def node_of(found: Object) -> Node | None:
    """None for a node that gets no traffic: it is excluded, being removed, or has no address yet."""
    metadata, spec, status = found["metadata"], found.get("spec", {}), found.get("status", {})
    labels = metadata.get("labels") or {}
    leaving = metadata.get("deletionTimestamp") or any(taint["key"] == LEAVING for taint in spec.get("taints") or ())
    inner = [entry["address"] for entry in status.get("addresses") or () if entry["type"] == "InternalIP"]
    address = next((text for text in inner if ":" not in text), "")
    if EXCLUDED in labels or leaving or not address:
        return None
    ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status.get("conditions") or ())
    return Node(metadata["name"], address, ready, labels)


def serving_nodes(slices: Iterable[Object]) -> frozenset[str]:
    """Names of the nodes with a ready endpoint of a Service."""
    endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or ()]
    return frozenset(endpoint["nodeName"] for endpoint in endpoints if endpoint.get("nodeName") and _ready(endpoint))


def _ready(endpoint: Mapping[str, Any]) -> bool:
    """By Kubernetes' rule an endpoint without the condition is ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False
