"""A cluster as users see it, from its observed state. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack
from moorage.clusters import explain
from moorage.clusters.kubernetes import node_of
from moorage.clusters.state import Kubernetes, Observed, ObservedStack
from moorage.clusters.waiting import describe_moves, describe_waiting
from moorage.model.cluster import Cluster, ClusterSpec, ClusterStatus, Node


def describe(observed: Observed, servers: Sequence[Server]) -> Cluster:
    """The cluster with its nodes; `observed` must have a base stack."""
    assert observed.base is not None
    stack, spec = observed.base.stack, observed.spec
    nodes = tuple(_node(server, observed.kubernetes) for server in servers)
    status, reason = _status(observed, spec, servers, nodes)
    return Cluster(
        name=stack.name,
        status=status,
        reason=reason,
        api_url=str(stack.outputs.get("api_url") or ""),
        created_at=stack.created_at,
        nodes=nodes,
        spec=spec,
    )


def summarize(base: Stack, groups: Sequence[Stack], servers: Sequence[Server]) -> Cluster:
    """The cluster as its stacks and servers describe it, for lists; Kubernetes is not asked."""
    status = _of_stacks([base, *groups])
    failed = [stack for stack in (base, *groups) if stack.status.endswith("_FAILED")]
    faults = explain.server_faults(servers) if status is None else []
    reason = explain.failure_reason(failed[0], ()) if failed else "; ".join(faults)
    nodes = tuple(_node(server, None) for server in servers)
    status = status or (ClusterStatus.DEGRADED if faults else ClusterStatus.READY)
    return Cluster(base.name, status, reason, created_at=base.created_at, nodes=nodes)


def _of_stacks(stacks: Sequence[Stack]) -> ClusterStatus | None:
    """The cluster's status as far as its stacks determine it, the base stack first; None when its nodes do.

    Two stacks of a group are two revisions: it is being upgraded.
    """
    base, *groups = (stack.status for stack in stacks)
    if any(status.endswith("_FAILED") for status in (base, *groups)):
        return ClusterStatus.FAILED
    if base.startswith("DELETE"):
        return ClusterStatus.DELETING
    if base == "CREATE_IN_PROGRESS" or (groups and set(groups) == {"CREATE_IN_PROGRESS"}):
        return ClusterStatus.CREATING
    names = [stack.name.rpartition("-")[0] for stack in stacks[1:]]
    moving = any(status.endswith("_IN_PROGRESS") for status in (base, *groups)) or len(set(names)) < len(names)
    return ClusterStatus.UPDATING if moving else None


def _status(
    observed: Observed, spec: ClusterSpec, servers: Sequence[Server], nodes: Sequence[Node]
) -> tuple[ClusterStatus, str]:
    assert observed.base is not None
    stacks, asked = [observed.base, *observed.groups], observed.kubernetes
    moves = describe_moves(spec, observed)
    status = _of_stacks([entry.stack for entry in stacks]) or (ClusterStatus.UPDATING if moves else None)
    unwell = [*_missing(stacks), *_problems(asked, servers, nodes)]
    complete = not unwell and sum(node.ready is True for node in nodes) >= spec.nodes
    match status:
        case ClusterStatus.FAILED:
            failed = next(entry for entry in stacks if entry.state == "FAILED")
            return status, explain.failure_reason(failed.stack, failed.resources)
        case ClusterStatus.DELETING:
            return status, explain.describe_deletion(observed.resources)
        case ClusterStatus.CREATING if not complete:
            return status, describe_waiting(spec, observed)
        case ClusterStatus.UPDATING if moves or not complete:
            return status, "; ".join(unwell) or moves or describe_waiting(spec, observed)
    if unwell:
        return ClusterStatus.DEGRADED, "; ".join(unwell)
    if asked is None:
        return ClusterStatus.UNKNOWN, "the cluster's key is not on this machine, so Kubernetes was not asked"
    return ClusterStatus.READY, ""


def _missing(stacks: Sequence[ObservedStack]) -> list[str]:
    """Missing servers, and what the user can do."""
    found = []
    for entry in stacks:
        if entry.lost:
            gone = explain.describe_missing(entry.lost, entry.stack.name)
            repair = (
                f": moorage cluster repair {stacks[0].stack.name} replaces {'it' if len(entry.lost) == 1 else 'them'}"
            )
            found.append(gone + ("" if explain.includes_control_plane(entry.lost) else repair))
    return found


def _problems(asked: Kubernetes | None, servers: Sequence[Server], nodes: Sequence[Node]) -> list[str]:
    faults = explain.server_faults(servers)
    if asked is None:
        return faults
    if asked.unreachable:
        return [*faults, asked.unreachable]
    sick = [f"node {node.name}: {node.reason}" for node in nodes if not node.ready and node.server == "ACTIVE"]
    problem = [f"it cannot reach its cloud: {asked.problem}"] if asked.problem else []
    return [*faults, *sick, *([] if asked.dns else ["CoreDNS has no running replica"]), *problem]


def _node(server: Server, asked: Kubernetes | None) -> Node:
    found = node_of(server, asked.nodes if asked else ())
    reason = server.fault
    if asked and not asked.unreachable and not reason:
        reason = found.reason if found else "has not joined the cluster"
    return Node(
        name=found.name if found else server.name,
        role=server.metadata.get("moorage_role", ""),
        group=server.metadata.get("moorage_group", ""),
        server=server.status,
        address=server.address,
        ready=found.ready if found else None,
        version=found.version if found else "",
        reason=reason,
    )
