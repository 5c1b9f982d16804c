"""Plan the changes of a Node from what is known of its server. Pure."""

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
from moorage.cloud.servers import Instance
from moorage.kube.objects import Object
from moorage.model.nodes import EXTERNAL_IPS, UNINITIALIZED

SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "moorage", "effect": "NoExecute"}
"""Kubernetes' taint for a machine that does not run: its pods are deleted and their volumes detached.

The value distinguishes our taint from one that a user added.
"""
STOPPED = "SHUTOFF"  # the only status of Nova in which nothing runs and volumes may be detached at once
SOON, LATER = 2.0, 10.0  # seconds until the next reconcile


@dataclass(frozen=True)
class Unknown:
    """The cloud did not answer, or its answer is ambiguous; `reason` says which."""

    reason: str


@dataclass(frozen=True)
class Notice:
    """An Event to record: `reason` is a word in CamelCase."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Warning"


@dataclass(frozen=True)
class NodePlan:
    """Merge patches for a Node's status and then for the rest of it, or its deletion; `again` in seconds."""

    delete: bool = False
    status: Object = field(default_factory=dict)
    change: Object = field(default_factory=dict)
    notice: Notice | None = None
    again: float | None = None

    @property
    def idle(self) -> bool:
        return self == NodePlan()


def plan_node(node: Object, instance: Instance | Unknown | None, place: Place) -> NodePlan:
    """`instance` None: the cloud, asked for this one server, does not have it."""
    known = server_id(node, place)
    if known is None:
        return NodePlan(notice=_foreign(node))
    if isinstance(instance, Unknown):
        message = f"not changed, because its server is not known: {instance.reason}"
        return NodePlan(notice=Notice("CloudUnknown", message), again=LATER)
    if instance is None:
        return _without_server(node, known)
    return _with_server(node, instance, place)


def _foreign(node: Object) -> Notice:
    given = node["spec"]["providerID"]
    return Notice("ForeignNode", f"ignored: its provider ID {given} names no server of this cloud and region")


def _without_server(node: Object, known: str) -> NodePlan:
    """Delete a Node without a server only if it once had one.

    The mounted volumes that its kubelet last reported would delay their detachment for minutes; nothing is mounted any
    more.
    """
    if known:
        mounted = node.get("status", {}).get("volumesInUse")
        notice = Notice("ServerGone", f"deleted: its server {known} was deleted", "Normal")
        return NodePlan(delete=True, status={"status": {"volumesInUse": None}} if mounted else {}, notice=notice)
    name = node["metadata"]["name"]
    message = f"no server of this cluster has the name {name}: rename the server, or delete the node"
    return NodePlan(notice=Notice("NoServer", message), again=LATER)


def _with_server(node: Object, instance: Instance, place: Place) -> NodePlan:
    wanted = addresses(node, instance)
    stale = instance.addresses and node.get("status", {}).get("addresses") != wanted
    return NodePlan(
        status={"status": {"addresses": wanted}} if stale else {},
        change=_change(node, instance, place),
        again=SOON if not instance.addresses else None,
    )


def _change(node: Object, instance: Instance, place: Place) -> Object:
    change: Object = {}
    have = node["metadata"].get("labels") or {}
    lacking: Object = {name: value for name, value in labels(instance, place).items() if have.get(name) != value}
    if have.get(EXTERNAL_IPS, "") != (outside := external_ips(instance)):
        lacking[EXTERNAL_IPS] = outside or None
    if lacking:
        change["metadata"] = {"labels": lacking}
    spec = _spec(node.get("spec", {}), instance, place, _silent(node))
    if spec:
        change["spec"] = spec
    return change


def _spec(spec: Object, instance: Instance, place: Place, silent: bool) -> Object:
    change: Object = {}
    if not spec.get("providerID"):
        change["providerID"] = provider_id(instance, place)
    old = spec.get("taints") or []
    wanted = _taints(old, instance, silent)
    if wanted != old:
        change["taints"] = wanted or None
    return change


def _taints(old: list[Object], instance: Instance, silent: bool) -> list[Object]:
    """Remove the taint of a new node (once it has an address), and set the one for a server that is shut down.

    Kubernetes waits for an unresponsive kubelet. Once the cloud says that the machine is off, nothing needs to wait.
    """
    done, stopped = bool(instance.addresses), instance.status == STOPPED
    kept = [taint for taint in old if not (done and taint["key"] == UNINITIALIZED)]
    kept = [taint for taint in kept if stopped or (taint["key"] != SHUTDOWN and not _is(taint, OUT_OF_SERVICE))]
    if stopped and not any(taint["key"] == SHUTDOWN for taint in kept):
        kept.append({"key": SHUTDOWN, "effect": "NoSchedule"})
    if stopped and silent and not any(taint["key"] == OUT_OF_SERVICE["key"] for taint in kept):
        kept.append(OUT_OF_SERVICE)
    return kept


def _is(taint: Object, other: Object) -> bool:
    """Whether it is that taint; the API may have added the time."""
    return all(taint.get(name) == value for name, value in other.items())


def _silent(node: Object) -> bool:
    """Whether Kubernetes has noticed that the node's kubelet is unresponsive or unhealthy."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] != "True" for one in conditions)
