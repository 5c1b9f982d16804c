"""Plan the deletion of what Heat created: servers, ports, the stack, and network resources that Heat lost. Pure.

Heat deletes most of it. What it does not know, because a service died before that was recorded, would block it: so
servers and ports are deleted before the stack, through their own services, and the network's other resources after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from moorage.cloud.port.network import NetworkResource, Port
from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import explain
from moorage.clusters.deletion.resources import Action, CleanupPlan, Deletion, combine
from moorage.clusters.progress import Unchanged
from moorage.model.cluster import OwnedResource

MAX_DELETIONS = 3  # of a stack, before its reason is reported
MAX_REVOCATIONS = 2  # of a credential, before it is kept
# Owners of ports that Octavia deletes with the load balancer, and that must exist until then: its own, its OVN
# provider's.
LOAD_BALANCER_OWNERS = ("Octavia", "ovn-lb")
COMPUTE, ROUTER_INTERFACE, NEUTRON = "compute:", "network:router_interface", "network:"


def plan_servers(servers: Iterable[Server], recent: Collection[str]) -> CleanupPlan:
    """`recent` are the ids of what was requested to be deleted in the last seconds."""
    new = tuple(
        Deletion(Action.DELETE_SERVER, server.id, f"deleting server {server.name}")
        for server in servers
        if server.id not in recent
    )
    return CleanupPlan(new, tuple(f"waiting for Nova to delete server {server.name}" for server in servers))


def plan_ports(cluster: str, ports: Iterable[Port], foreign: Mapping[str, str]) -> CleanupPlan:
    """`foreign` are names of servers with ports in the cluster's networks that are not the cluster's, by id."""
    blocked = tuple(
        f"server {foreign[port.device]}, which is not the cluster's, has a port in its network"
        for port in ports
        if port.device in foreign
    )
    return CleanupPlan((), (), blocked) if blocked else CleanupPlan(tuple(_free_ports(cluster, ports)))


def _free_ports(cluster: str, ports: Iterable[Port]) -> list[Deletion]:
    """A router's interface is detached last: Neutron rejects that while ports have floating IPs."""
    interfaces, others = [], []
    for port in ports:
        if port.owner.startswith(ROUTER_INTERFACE):
            text = f"detaching the network of {cluster}"
            interfaces.append(Deletion(Action.DETACH_PORT, port.id, text, (port.device,)))
        elif not port.owner.startswith((NEUTRON, *LOAD_BALANCER_OWNERS)):
            others.append(Deletion(Action.DELETE_PORT, port.id, f"deleting ports of {cluster}"))
    return others or interfaces


def plan_credentials(cluster: str, ids: Iterable[str], requests: Mapping[str, int]) -> CleanupPlan:
    """A user with a restricted application credential may revoke none; that must not keep the cluster alive."""
    text, why = f"revoking {cluster}'s credential", "Keystone does not let this user's credentials revoke it"
    return combine(
        CleanupPlan(kept=(OwnedResource("application credential", id, id, why=why),))
        if requests.get(id, 0) >= MAX_REVOCATIONS
        else CleanupPlan((Deletion(Action.REVOKE_CREDENTIAL, id, text),))
        for id in ids
    )


def plan_stop(stack: Stack) -> CleanupPlan:
    """Heat must create nothing more, before what it created is deleted."""
    if stack.status not in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
        return CleanupPlan()
    text = f"stopping Heat: {stack.name} is {stack.status}"
    return CleanupPlan((Deletion(Action.DELETE_STACK, stack.id, text, (stack.name,)),))


def plan_stack(
    stack: Stack, resources: Sequence[StackResource], unchanged: Unchanged, requests: Mapping[str, int]
) -> CleanupPlan:
    """`requests` counts this run's by id."""
    text = f"deleting stack {stack.name}"
    if stack.status == "DELETE_IN_PROGRESS":
        if not unchanged.stuck:
            return CleanupPlan(waiting=(explain.describe_deletion(resources),))
        text = f"the stack has not changed for {unchanged.seconds:.0f} s: deleting it again"
    elif stack.status == "DELETE_FAILED":
        reason = explain.failure_reason(stack, resources)
        if requests.get(stack.id, 0) >= MAX_DELETIONS:
            return CleanupPlan(blocked=(reason,))
        text = f"deletion failed ({reason}): trying again"
    return CleanupPlan((Deletion(Action.DELETE_STACK, stack.id, text, (stack.name,)),))


def plan_network(resources: Iterable[NetworkResource]) -> CleanupPlan:
    """In the order in which Neutron accepts it; subnets and ports are deleted with their network."""
    order = ("floating IP", "router", "network", "security group")
    return CleanupPlan(
        tuple(
            Deletion(Action.DELETE_NETWORK_RESOURCE, it.id, f"deleting {it.kind} {it.name}", (it.kind,))
            for it in sorted(resources, key=lambda resource: order.index(resource.kind))
        )
    )
