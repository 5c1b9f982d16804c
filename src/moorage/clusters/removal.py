"""Choose which nodes of a group's stack are removed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from moorage.cloud.port.stacks import StackResource
from moorage.clusters import explain
from moorage.clusters.kubernetes import KubeNode, node_name, node_of
from moorage.clusters.parameters import requested_removals, size
from moorage.clusters.state import Observed, ObservedStack
from moorage.clusters.steps import RemoveNodes
from moorage.model.nodes import stack_of


@dataclass(frozen=True)
class Member:
    """A node of a group: its server, or the resource of a lost one. `node` is the name of its Node, if it has one.

    One that is `broken` may be `ready` for Kubernetes nevertheless, such as while its server migrates.
    """

    name: str
    node: str
    server: str = ""
    lost: StackResource | None = None
    removing: bool = False
    broken: bool = True
    ready: bool = False


def members_of(entry: ObservedStack, observed: Observed) -> list[Member]:
    """The nodes of a group's stack; lost ones are those of which Heat has no complete server, unless they are Ready."""
    names, lost_ids = {node.name for node in observed.nodes}, {resource.physical_id for resource in entry.lost}
    found = {}
    for server in observed.servers:
        node = node_of(server, observed.nodes)
        name, ready = node.name if node else node_name(server), bool(node and node.ready)
        if stack_of(name) == entry.stack.name and (ready or server.id not in lost_ids):
            broken, removing = not ready or server.status != "ACTIVE", bool(node and node.removing)
            found[server.id] = Member(name, node.name if node else "", server.id, None, removing, broken, ready)
    lost = [resource for resource in entry.lost if resource.physical_id not in found]
    names_of_lost = ((resource, explain.node_name(resource, entry.stack.name)) for resource in lost)
    gone = [Member(name, name if name in names else "", lost=resource) for resource, name in names_of_lost]
    return [*found.values(), *gone]


def remove_nodes(entry: ObservedStack, target: int, named: Collection[str], observed: Observed) -> RemoveNodes | None:
    """First the nodes that are named, then broken ones, then those of which the removal has begun, then the newest.

    The stack keeps `target` nodes; for more named ones, others are created. What Heat was requested to remove is not
    one of its nodes any more.
    """
    requested = requested_removals(entry.stack)
    members = [member for member in members_of(entry, observed) if member.name not in requested]
    pending = {member.name for member in members if member.name in named}
    extra = size(entry.stack) - target
    members.sort(key=lambda member: (member.name not in pending, *_age(member)))
    chosen = members[: max(extra, len(pending))]
    if not chosen:
        return None
    removal = _removal(entry, chosen)
    servers = tuple(member.server for member in chosen if member.server)
    return replace(removal, servers=servers, size=target, new_token=len(chosen) > extra)


def _age(member: Member) -> tuple[bool, bool, int]:
    """Smallest for the node to remove first; indexes grow with time."""
    index = member.name.rpartition("-")[2]
    return not member.broken, not member.removing, -int(index) if index.isdigit() else 0


def remove_stack(entry: ObservedStack, observed: Observed) -> RemoveNodes:
    """Drain all nodes of a group's stack and delete it."""
    return _removal(entry, members_of(entry, observed))


def _removal(entry: ObservedStack, members: Sequence[Member]) -> RemoveNodes:
    """Drain those of these nodes that exist; the others are lost."""
    nodes = tuple(member.node for member in members if member.node and not member.lost)
    return RemoveNodes(entry.stack, (), nodes, tuple(member.lost for member in members if member.lost))


def running(entry: ObservedStack, observed: Observed) -> list[KubeNode]:
    """The stack's Nodes that have a server, and that Heat was not requested to remove."""
    there, requested = [node_of(server, observed.nodes) for server in observed.servers], requested_removals(entry.stack)
    nodes = observed.nodes_of(entry.stack.name)
    return [node for node in nodes if node in there and node.name not in requested]
