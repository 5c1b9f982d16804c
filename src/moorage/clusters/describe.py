"""A cluster as users see it, from its observed state. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack
from moorage.clusters import explain
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.parameters import as_text, node_count
from moorage.clusters.plan import Kubernetes, Observed
from moorage.model.cluster import Cluster, ClusterStatus, Node


def describe(observed: Observed, servers: Sequence[Server]) -> Cluster:
    """The cluster with its nodes; `observed` must have a stack."""
    stack = observed.stack
    assert stack is not None
    nodes = tuple(_node(server, observed.kubernetes) for server in servers)
    status, reason = _status(observed, stack, servers, nodes)
    return Cluster(
        name=stack.name,
        status=status,
        reason=reason,
        api_url=str(stack.outputs.get("api_url") or ""),
        created_at=stack.created_at,
        nodes=nodes,
        parameters=as_text(stack),
    )


def summarize(stack: Stack) -> Cluster:
    """The cluster as its stack alone describes it, for lists; nodes are not read."""
    status = _of_stack(stack.status)
    reason = explain.failure_reason(stack, ()) if status is ClusterStatus.FAILED else ""
    return Cluster(stack.name, ClusterStatus.READY if status is None else status, reason, created_at=stack.created_at)


def _of_stack(status: str) -> ClusterStatus | None:
    """The cluster's status as far as its stack determines it; None when its nodes determine it."""
    action, _, state = status.partition("_")
    if state == "FAILED":
        return ClusterStatus.FAILED
    if action == "DELETE":
        return ClusterStatus.DELETING
    return ClusterStatus.CREATING if status == "CREATE_IN_PROGRESS" else None


def _status(
    observed: Observed, stack: Stack, servers: Sequence[Server], nodes: Sequence[Node]
) -> tuple[ClusterStatus, str]:
    status, asked = _of_stack(stack.status), observed.kubernetes
    if status is ClusterStatus.FAILED:
        return status, explain.failure_reason(stack, observed.resources)
    if status is ClusterStatus.DELETING:
        return status, explain.describe_deletion(observed.resources)
    unwell = [*_missing(observed, stack), *_problems(asked, servers, nodes)]
    if status is ClusterStatus.CREATING:
        wanted = node_count(stack)
        if asked and not unwell and len(nodes) >= wanted:
            return ClusterStatus.READY, ""
        return status, explain.describe_waiting(observed.resources, wanted)
    if unwell:
        return ClusterStatus.DEGRADED, "; ".join(unwell)
    if asked is None:
        return ClusterStatus.UNKNOWN, "the cluster's key is not on this machine, so Kubernetes was not asked"
    return ClusterStatus.READY, ""


def _missing(observed: Observed, stack: Stack) -> list[str]:
    """Missing servers, and what the user can do."""
    if not observed.lost:
        return []
    gone = explain.describe_missing(observed.lost, stack.name)
    if explain.includes_control_plane(observed.lost):
        return [gone]
    return [f"{gone}: run the command that created the cluster again to recreate that"]


def _problems(asked: Kubernetes | None, servers: Sequence[Server], nodes: Sequence[Node]) -> list[str]:
    faults = explain.server_faults(servers)
    if asked is None:
        return faults
    if asked.unreachable:
        return [*faults, asked.unreachable]
    sick = [f"node {node.name}: {node.reason}" for node in nodes if not node.ready and node.server == "ACTIVE"]
    problem = [f"it cannot reach its cloud: {asked.problem}"] if asked.problem else []
    return [*faults, *sick, *([] if asked.dns else ["CoreDNS has no running replica"]), *problem]


def _kube_node(server: Server, nodes: Sequence[KubeNode]) -> KubeNode | None:
    """The server's Node: by its id, because users rename servers; by name as long as the Node has no server."""
    return next(
        (node for node in nodes if node.server == server.id or (node.server == "" and node.name == server.name)), None
    )


def _node(server: Server, asked: Kubernetes | None) -> Node:
    found = _kube_node(server, asked.nodes if asked else ())
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
