"""Choose which nodes of a group's stack are removed. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from moorage.cloud.port.stacks import StackResource
from moorage.clusters import explain
from moorage.clusters.kubernetes import KubeNode, node_name, node_of
from moorage.clusters.parameters import requested_removals, size
from moorage.clusters.state import Observed, ObservedStack
from moorage.clusters.steps import RemoveNodes
from moorage.model.nodes import stack_of


@dataclass(frozen=True)
class Member:
    """A node of a group: its server, or the resource of a lost one. `node` is the name of its Node, if it has one."""

    name: str
    node: str
    server: str = ""
    lost: StackResource | None = None
    removing: bool = False
    broken: bool = True


def members_of(entry: ObservedStack, observed: Observed) -> list[Member]:
    """The nodes of a group's stack; lost ones are those of which Heat has no server that is complete."""
    names, lost_ids = {node.name for node in observed.nodes}, {resource.physical_id for resource in entry.lost}
    found = []
    for server in observed.servers:
        node = node_of(server, observed.nodes)
        name = node.name if node else node_name(server)
        if stack_of(name) == entry.stack.name and server.id not in lost_ids:
            broken = node is None or not node.ready or server.status != "ACTIVE"
            removing = bool(node and node.removing)
            found.append(Member(name, node.name if node else "", server.id, None, removing, broken))
    for resource in entry.lost:
        name = explain.node_name(resource, entry.stack.name)
        found.append(Member(name, name if name in names else "", lost=resource))
    return found


def remove_nodes(entry: ObservedStack, target: int, named: Collection[str], observed: Observed) -> RemoveNodes | None:
    """First the nodes that are named, then those of which the removal has begun, then broken ones, then the newest.

    The stack keeps `target` nodes; for more named ones, others are created.
    """
    members, requested = members_of(entry, observed), requested_removals(entry.stack)
    pending = {member.name for member in members if member.name in named and member.name not in requested}
    extra = size(entry.stack) - target
    members.sort(key=lambda member: (member.name not in pending, *_age(member)))
    chosen = members[: max(extra, len(pending))]
    if not chosen:
        return None
    return RemoveNodes(
        entry.stack,
        servers=tuple(member.server for member in chosen if member.server),
        nodes=tuple(member.node for member in chosen if member.node and not member.lost),
        lost=tuple(member.lost for member in chosen if member.lost),
        size=target,
        new_token=len(chosen) > extra,
    )


def _age(member: Member) -> tuple[bool, bool, int]:
    """Smallest for the node to remove first; indexes grow with time."""
    index = member.name.rpartition("-")[2]
    return not member.removing, not member.broken, -int(index) if index.isdigit() else 0


def remove_stack(entry: ObservedStack, observed: Observed) -> RemoveNodes:
    """Drain all nodes of a group's stack and delete it."""
    members = [member.node for member in members_of(entry, observed) if member.node and not member.lost]
    return RemoveNodes(entry.stack, (), tuple(members))


def running(entry: ObservedStack, observed: Observed) -> list[KubeNode]:
    """The stack's Nodes that have a server, and that Heat was not requested to remove."""
    there, requested = [node_of(server, observed.nodes) for server in observed.servers], requested_removals(entry.stack)
    nodes = observed.nodes_of(entry.stack.name)
    return [node for node in nodes if node in there and node.name not in requested]
