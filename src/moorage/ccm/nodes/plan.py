"""What to do about a node, given what is known of its server. Pure."""

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
"""Kubernetes' taint by which pods of a machine that surely does not run are taken away, and their volumes with them.
The value tells ours from one that a person has put there."""
STOPPED = "SHUTOFF"  # the one status of Nova in which nothing runs and volumes may be taken off at once
SOON, LATER = 2.0, 10.0  # seconds after which to look again


@dataclass(frozen=True)
class Unknown:
    """The cloud could not be asked, or its answer cannot be told apart; `reason` in plain words."""

    reason: str


@dataclass(frozen=True)
class Notice:
    """An Event to write: `reason` is a word in CamelCase."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Warning"


@dataclass(frozen=True)
class NodePlan:
    """Merge patches for a node's status and then for the rest of it, or its deletion; `again` in seconds."""

    delete: bool = False
    status: Object = field(default_factory=dict)
    change: Object = field(default_factory=dict)
    notice: Notice | None = None
    again: float | None = None

    @property
    def idle(self) -> bool:
        return self == NodePlan()


def plan_node(node: Object, instance: Instance | Unknown | None, place: Place) -> NodePlan:
    """None is a server that the cloud, asked for it alone, said is not there."""
    known = server_id(node, place)
    if known is None:
        return NodePlan(notice=_foreign(node))
    if isinstance(instance, Unknown):
        message = f"left as it is, because its server is not known: {instance.reason}"
        return NodePlan(notice=Notice("CloudUnknown", message), again=LATER)
    if instance is None:
        return _without_server(node, known)
    return _with_server(node, instance, place)


def _foreign(node: Object) -> Notice:
    given = node["spec"]["providerID"]
    return Notice("ForeignNode", f"left alone: its provider ID {given} names no server of this cloud and region")


def _without_server(node: Object, known: str) -> NodePlan:
    """Only a node that once had a server is deleted for the lack of it.

    What its kubelet last said of mounted volumes would hold these back for minutes: nothing is mounted there any more.
    """
    if known:
        mounted = node.get("status", {}).get("volumesInUse")
        notice = Notice("ServerGone", f"deleted: its server {known} is gone", "Normal")
        return NodePlan(delete=True, status={"status": {"volumesInUse": None}} if mounted else {}, notice=notice)
    name = node["metadata"]["name"]
    message = f"no server of this cluster is named {name}: give the node its server's name, or delete the node"
    return NodePlan(notice=Notice("NoServer", message), again=LATER)


def _with_server(node: Object, instance: Instance, place: Place) -> NodePlan:
    wanted = addresses(node, instance)
    told = instance.addresses and node.get("status", {}).get("addresses") != wanted
    return NodePlan(
        status={"status": {"addresses": wanted}} if told else {},
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
    """Without the one of a new node (kept as long as it has no address), and told whether the server is shut down.

    Kubernetes waits for a kubelet that is silent; once the cloud says that the machine is off, nobody need wait.
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
    """Whether it is that taint; the API may have added when."""
    return all(taint.get(name) == value for name, value in other.items())


def _silent(node: Object) -> bool:
    """Whether Kubernetes itself has noticed that the node's kubelet says nothing, or nothing good."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] != "True" for one in conditions)
