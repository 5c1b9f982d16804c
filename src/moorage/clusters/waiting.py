"""What a plan waits for: stacks that Heat works on, the API, Nodes; and its description for users. Pure."""

from __future__ import annotations

from moorage.clusters import explain
from moorage.clusters.parameters import size
from moorage.clusters.state import Observed, ObservedStack
from moorage.clusters.steps import MAX_ATTEMPTS, Attempts, DeleteStack, Done, Fail, Step, UpdateStack, Wait
from moorage.model.cluster import CONTROL_PLANE, ClusterSpec

NO_KEY = "the cluster's private key is on another machine"


def in_progress(spec: ClusterSpec, entry: ObservedStack, servers: int, observed: Observed) -> Step | None:
    """Kubernetes may be ready before Heat records that; then only Heat's own records are incomplete.

    The cluster is not done while a server is incomplete: Nova may report it as failed although it runs, and Heat would
    create another one.
    """
    removing = any(node.removing and node.group == entry.group for node in observed.nodes)
    served = explain.servers_complete(entry.resources) >= servers and not removing
    if served and observed.key and observed.kubernetes and isinstance(wait_for_nodes(spec, observed), Done):
        return None
    return _resume(entry) if entry.unchanged.stuck else Wait(describe_waiting(spec, observed))


def wait_for_heat(entry: ObservedStack, text: str, attempts: Attempts) -> Step | None:
    """What to do while Heat works on a stack, or when it failed to delete it."""
    if entry.action == "DELETE" and (entry.state == "FAILED" or entry.unchanged.stuck):
        return delete_again(entry, f"deleting {entry.stack.name}", attempts)
    if entry.state != "IN_PROGRESS":
        return None
    return _resume(entry) if entry.unchanged.stuck else Wait(text)


def _resume(entry: ObservedStack) -> UpdateStack:
    text = f"stack {entry.stack.name} has not changed for {entry.unchanged.seconds:.0f} s: resuming it"
    return UpdateStack(entry.stack, text)


def delete_again(entry: ObservedStack, text: str, attempts: Attempts) -> Step:
    """Retry a deletion that failed, as what `text` describes; at most three times."""
    reason = explain.failure_reason(entry.stack, entry.resources)
    if attempts.repairs[entry.stack.name] >= MAX_ATTEMPTS:
        return Fail(f"{text}: {reason}", used=True)
    return DeleteStack(entry.stack, f"{text} again ({reason})")


def with_api(spec: ClusterSpec, observed: Observed) -> Step | None:
    """What to wait for until Kubernetes can be given a new join token, or be asked to drain nodes."""
    if not observed.key:
        return Fail(f"nodes cannot be added or removed here: {NO_KEY}", used=True)
    return None if observed.reachable else wait_for_nodes(spec, observed)


def wait_for_nodes(spec: ClusterSpec, observed: Observed) -> Wait | Done | Fail:
    """Done when all nodes of the spec and the cluster's DNS are ready, and no group has nodes of two revisions."""
    moves = describe_moves(spec, observed)
    if not observed.key:
        unasked = f"{NO_KEY}, so Kubernetes was not asked"
        return Fail(f"{moves}; {NO_KEY}", used=True) if moves else Done(f"the stacks are complete; {unasked}")
    asked = observed.kubernetes
    if asked is None or asked.unreachable:
        return Wait(f"waiting for the Kubernetes API: {asked.unreachable if asked else 'not asked yet'}")
    if asked.problem:
        return Wait(f"the cluster cannot reach its cloud: {asked.problem}")
    groups = (CONTROL_PLANE, *(group.name for group in spec.groups))
    nodes = [node for node in asked.nodes if node.group in groups]
    missing = [f"{node.name}: {node.reason}" for node in nodes if not node.ready]
    if len(nodes) < spec.nodes or missing:
        ready = sum(node.ready for node in nodes)
        return Wait(f"waiting for nodes: {ready} of {spec.nodes} Ready" + "".join(f"; {text}" for text in missing[:1]))
    if moves:
        return Wait(moves)
    has_workers = any(group.count for group in spec.groups)
    return Done() if asked.dns or not has_workers else Wait("waiting for CoreDNS")


def describe_waiting(spec: ClusterSpec, observed: Observed) -> str:
    """What the cluster's stacks are doing at the moment."""
    stacks = [entry for entry in observed.groups if entry.action != "DELETE" and spec.group(entry.group)]
    complete = sum(size(entry.stack) for entry in stacks if _is_complete(entry))
    complete += spec.control_plane_nodes if _is_complete(observed.base) else 0
    missing = sum(group.count for group in spec.groups if observed.group(group.name) is None)
    nodes = spec.control_plane_nodes + sum(size(entry.stack) for entry in stacks) + missing
    text, moves = explain.describe_waiting(observed.resources, nodes, complete), describe_moves(spec, observed)
    return f"{moves}; {text}" if moves else text


def describe_moves(spec: ClusterSpec, observed: Observed) -> str:
    """Groups that have nodes of several revisions, and how many of the current one are Ready; "" for none."""
    moves = []
    for group in spec.groups:
        entry = observed.group(group.name)
        if entry and entry.action != "DELETE" and observed.is_upgrading(group.name):
            ready = sum(node.ready for node in observed.nodes_of(entry.stack.name))
            of = f"{entry.stack.name} Ready" if observed.reachable else entry.stack.name
            number = f"{ready} of {group.count}" if observed.reachable else f"{size(entry.stack)} of {group.count}"
            moves.append(f"upgrading node group {group.name}: {number} nodes of {of}")
    return "; ".join(moves)


def _is_complete(entry: ObservedStack | None) -> bool:
    return entry is not None and entry.state == "COMPLETE"
