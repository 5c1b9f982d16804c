"""Decides what to change on a node, from what the cloud reports about its server. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from moorage.ccm.nodes.identity import (
    Place,
    addresses,
    external_ips,
    labels,
    provider_id,
    server_id,
)
from moorage.cloud.port.servers import Server
from moorage.kube.port import Object
from moorage.model.nodes import EXTERNAL_IPS, UNINITIALIZED

SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "moorage", "effect": "NoExecute"}
"""Kubernetes' taint for a node that certainly does not run: Kubernetes deletes its pods and detaches their volumes.
The value distinguishes Moorage's taint from a user's."""
STOPPED = "SHUTOFF"  # the only Nova status in which nothing runs and volumes can be detached at once
SOON, LATER = 2.0, 10.0  # seconds until the next reconciliation


@dataclass(frozen=True)
class UnknownServer:
    """The cloud did not answer, or its answer is ambiguous; `reason` says why."""

    reason: str


@dataclass(frozen=True)
class NodeEvent:
    """A Kubernetes Event to record; `reason` is a word in CamelCase."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Warning"


@dataclass(frozen=True)
class NodePlan:
    """Merge patches for a node's `status` and then for the rest, or its deletion; `retry_after` is in seconds."""

    delete: bool = False
    status: Object = field(default_factory=dict)
    change: Object = field(default_factory=dict)
    event: NodeEvent | None = None
    retry_after: float | None = None

    @property
    def is_empty(self) -> bool:
        return self == NodePlan()


def plan_node(node: Object, instance: Server | UnknownServer | None, place: Place) -> NodePlan:
    """`instance` is None when the cloud, queried for this server alone, reports that it does not exist."""
    id = server_id(node, place)
    if id is None:
        return NodePlan(event=_foreign_node_event(node))
    if isinstance(instance, UnknownServer):
        message = f"not changed, because the state of its server is unknown: {instance.reason}"
        return NodePlan(event=NodeEvent("CloudUnknown", message), retry_after=LATER)
    if instance is None:
        return _plan_without_server(node, id)
    return _plan_with_server(node, instance, place)


def _foreign_node_event(node: Object) -> NodeEvent:
    given = node["spec"]["providerID"]
    return NodeEvent("ForeignNode", f"ignored: its provider ID {given} names no server of this cloud and region")


def _plan_without_server(node: Object, id: str) -> NodePlan:
    """Deletes the node only if it once had a server.

    Clears `volumesInUse` first: kubelet's last report would delay the detachment of volumes for minutes, although
    nothing is mounted any more.
    """
    if id:
        mounted = node.get("status", {}).get("volumesInUse")
        event = NodeEvent("ServerGone", f"deleted: its server {id} no longer exists", "Normal")
        return NodePlan(delete=True, status={"status": {"volumesInUse": None}} if mounted else {}, event=event)
    name = node["metadata"]["name"]
    message = f"this cluster has no server named {name}: rename the node after its server, or delete the node"
    return NodePlan(event=NodeEvent("NoServer", message), retry_after=LATER)


def _plan_with_server(node: Object, instance: Server, place: Place) -> NodePlan:
    desired = addresses(node, instance)
    outdated = instance.addresses and node.get("status", {}).get("addresses") != desired
    return NodePlan(
        status={"status": {"addresses": desired}} if outdated else {},
        change=_plan_change(node, instance, place),
        retry_after=SOON if not instance.addresses else None,
    )


def _plan_change(node: Object, instance: Server, place: Place) -> Object:
    change: Object = {}
    current = node["metadata"].get("labels") or {}
    missing: Object = {name: value for name, value in labels(instance, place).items() if current.get(name) != value}
    if current.get(EXTERNAL_IPS, "") != (floating := external_ips(instance)):
        missing[EXTERNAL_IPS] = floating or None
    if missing:
        change["metadata"] = {"labels": missing}
    spec = _plan_spec(node.get("spec", {}), instance, place, _is_unresponsive(node))
    if spec:
        change["spec"] = spec
    return change


def _plan_spec(spec: Object, instance: Server, place: Place, unresponsive: bool) -> Object:
    change: Object = {}
    if not spec.get("providerID"):
        change["providerID"] = provider_id(instance, place)
    current = spec.get("taints") or []
    desired = _desired_taints(current, instance, unresponsive)
    if desired != current:
        change["taints"] = desired or None
    return change


def _desired_taints(current: list[Object], instance: Server, unresponsive: bool) -> list[Object]:
    """Removes the taint of a new node once the server has an address, and adds or removes those of a stopped server.

    Kubernetes waits minutes for an unresponsive kubelet. The out-of-service taint skips that wait once the cloud
    reports that the server is off.
    """
    initialized, stopped = bool(instance.addresses), instance.status == STOPPED
    taints = [taint for taint in current if not (initialized and taint["key"] == UNINITIALIZED)]
    taints = [
        taint for taint in taints if stopped or (taint["key"] != SHUTDOWN and not _matches(taint, OUT_OF_SERVICE))
    ]
    if stopped and not any(taint["key"] == SHUTDOWN for taint in taints):
        taints.append({"key": SHUTDOWN, "effect": "NoSchedule"})
    if stopped and unresponsive and not any(taint["key"] == OUT_OF_SERVICE["key"] for taint in taints):
        taints.append(OUT_OF_SERVICE)
    return taints


def _matches(taint: Object, other: Object) -> bool:
    """Whether the taint has all fields of the other one; the API server may have added `timeAdded`."""
    return all(taint.get(name) == value for name, value in other.items())


def _is_unresponsive(node: Object) -> bool:
    """Whether Kubernetes reports that the node is not Ready, or that its kubelet stopped reporting."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] != "True" for condition in conditions)
