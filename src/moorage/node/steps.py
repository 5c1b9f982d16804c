"""Steps of both kinds of node."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from moorage.model.errors import Failed
from moorage.node import configuration, objects, slots
from moorage.node.api import HOPELESS, Api, Refused, Unreachable
from moorage.node.blessing import bless
from moorage.node.configuration import Identity
from moorage.node.files import write, write_all
from moorage.node.node import Node
from moorage.node.waiting import NotYet

NETWORK_UNITS = ("flanneld", "kube-proxy")
Result = TypeVar("Result")

NODE_UNITS = ("moorage-firewall", "containerd", "kubelet", "flanneld")
"""A node needs these to become Ready."""


def wait_for_clock(node: Node) -> None:
    """Certificates are valid at the right time only."""

    def attempt() -> None:
        if not node.machine.clock_is_set():
            raise NotYet("the server's clock is wrong, and no time server has set it: set it, or offer NTP by DHCP")

    node.deadline.until(attempt)


def configure(node: Node, address: str) -> None:
    """Write the files of every node, for this address."""
    identity = Identity(node.name, address, node.machine.resources(), node.server)
    write_all(configuration.common(node.layout, node.data, identity))
    resolve(node)


def resolve(node: Node) -> bool:
    """Use the DNS servers that the network assigned; whether there are any."""
    try:
        servers = configuration.nameservers(node.layout.network_state.read_text())
    except FileNotFoundError:
        servers = []
    write(node.layout.resolv, configuration.resolv(servers))
    return bool(servers)


def start_node(node: Node) -> None:
    """Start what runs pods. On the control plane the network follows, once its roles exist.

    A machine container's cgroups survive its reboot. The kubelet would look for the containers of each one, and wait
    some seconds for each, before it reports ready.
    """
    if not node.machine.since("kubelet"):
        node.machine.clear_pod_groups()
    node.machine.start("kubelet", *(() if node.data.role == "control-plane" else NETWORK_UNITS))


def start_volumes(node: Node) -> None:
    """Start the node part of the volume driver; without a cloud there are no volumes."""
    if node.data.cluster.cloud_provider:
        node.machine.start("moorage-csi-node")


def become_ready(node: Node) -> None:
    """Wait until Kubernetes reports this node as Ready; write the CNI configuration as soon as flannel has a lease."""
    api = node.api()
    node.deadline.until(lambda: _ready(node, api))
    api.close()


def bless_boot(node: Node) -> None:
    """Bless the slot: this boot was healthy."""
    slot = bless(node.layout)
    if slot:
        node.report(f"slot {slot} is good")


def report_image(node: Node) -> None:
    """Show in the Node's condition which image it runs, and in an Event when another one did not come up."""
    try:
        record, booted = slots.read_record(node.layout), slots.booted_slot(node.layout)
    except (FileNotFoundError, Failed):
        return
    slot, others = record.slot(booted), [slot for slot in record.slots if slot.name != booted]
    failed = [other for other in others if other.left == 0]
    if slot is None:
        return
    api, format = node.api(), slots.format_of(node.layout)
    now = datetime.datetime.now(datetime.UTC)
    answered(node, lambda: api.patch(objects.image_annotations(node.name, slot, others, format)))
    answered(node, lambda: api.patch_status(objects.image_condition(node.name, slot, failed, now)))
    for event in objects.image_events(node.name, slot, failed, now):
        answered(node, partial(api.create, event))
    api.close()


def answered(node: Node, ask: Callable[[], Result]) -> Result:
    """Ask the API server until it answers as it should, because it may be starting. Failed for hopeless errors."""

    def attempt() -> Result:
        try:
            return ask()
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.status in HOPELESS:
                raise Failed(str(error)) from error
            raise NotYet(str(error)) from error

    return node.deadline.until(attempt)


def _ready(node: Node, api: Api) -> None:
    lease = _lease(node)
    try:
        found = api.find(f"/api/v1/nodes/{node.name}")
    except (Unreachable, Refused) as error:
        raise NotYet(f"the API server does not return this node: {error}") from error
    if found is None:
        raise NotYet("the kubelet has not registered this node yet")
    conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", [])}
    ready = conditions.get("Ready", {})
    if _time(ready.get("lastHeartbeatTime")) < int(node.machine.since("kubelet")):
        raise NotYet("the kubelet has not reported since it was started")
    if ready.get("status") != "True":
        raise NotYet(f"this node is not Ready: {ready.get('message') or 'its kubelet gave no reason'}")
    if not lease:
        raise NotYet("flannel has no pod network for this node yet")


def _time(text: str | None) -> float:
    return datetime.datetime.fromisoformat(text).timestamp() if text else 0


def _lease(node: Node) -> bool:
    try:
        lease = node.layout.flannel_lease.read_text()
    except FileNotFoundError:
        return False
    write(node.layout.cni, configuration.cni(lease))
    return True
