"""Plan the next step towards a cluster's spec. Pure: from the spec and the observed state to one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from moorage.cloud.port.stacks import StackResource
from moorage.clusters import explain
from moorage.clusters.kubernetes import group_record, node_of
from moorage.clusters.parameters import (
    recorded_group,
    size,
)
from moorage.clusters.removal import remove_nodes, remove_stack
from moorage.clusters.revisions import change_revision, changed_values, move_nodes
from moorage.clusters.state import DesiredState, Observed, ObservedStack
from moorage.clusters.steps import (
    MAX_ATTEMPTS,
    Attempts,
    CancelRemoval,
    CreateBase,
    CreateGroup,
    DeleteInfrastructure,
    DeleteNodes,
    DeleteServers,
    Done,
    Fail,
    RecordGroups,
    ReplaceNodes,
    Step,
    UpdateStack,
    Wait,
)
from moorage.clusters.waiting import NO_KEY, describe_waiting, in_progress, wait_for_heat, wait_for_nodes, with_api
from moorage.model.cluster import ClusterSpec, NodeGroup


def plan_cluster(desired: DesiredState, observed: Observed, attempts: Attempts) -> Step:
    """The next step towards the desired state, in which all nodes of the spec are Ready."""
    spec, base = desired.spec, observed.base
    if base is None:
        return DeleteInfrastructure(None, _previous(spec.name)) if observed.groups else CreateBase()
    if base.action == "DELETE":
        return DeleteInfrastructure(base.stack, _previous(spec.name))
    first = _plan_base(desired, base, observed, attempts)
    if isinstance(first, Fail | DeleteInfrastructure):
        return first
    planned = (first, *_plan_groups(desired, base, observed, attempts), *_plan_deleted(desired, observed, attempts))
    steps = [step for step in planned if step is not None]
    if steps:
        return min(steps, key=_urgency)
    return _plan_removed(spec, observed) or _plan_records(observed) or wait_for_nodes(spec, observed)


def _previous(name: str) -> str:
    return f"the previous {name} is being deleted"


def _urgency(step: Step) -> int:
    """Requests first; a group that failed does not stop the others."""
    return 2 if isinstance(step, Fail) else 1 if isinstance(step, Wait | Done) else 0


def _plan_base(desired: DesiredState, base: ObservedStack, observed: Observed, attempts: Attempts) -> Step | None:
    spec = desired.spec
    if base.state == "IN_PROGRESS":
        return in_progress(spec, base, spec.control_plane_nodes, observed)
    if base.state == "FAILED":
        return _failed_base(base, attempts, desired.creates)
    return Fail(explain.describe_missing(base.lost, spec.name)) if observed.key and base.lost else None


def _failed_base(base: ObservedStack, attempts: Attempts, creates: bool) -> Step:
    """Recreate a cluster that was never ready. In any other one users may have deployed something."""
    reason = explain.failure_reason(base.stack, base.resources)
    if not explain.control_plane_was_ready(base.resources):
        if attempts.creations >= MAX_ATTEMPTS or not creates:
            return Fail(reason)
        text = f"creation failed ({reason}): recreating the cluster"
        return DeleteInfrastructure(base.stack, text, attempts.creations + 1)
    if attempts.repairs[base.stack.name] or base.lost:
        return Fail(reason, used=True)
    return _retry(base, reason)


def _plan_groups(
    desired: DesiredState, base: ObservedStack, observed: Observed, attempts: Attempts
) -> Iterator[Step | None]:
    spec = desired.spec
    for group in spec.groups:
        entry = observed.group(group.name)
        if entry is None:
            yield _create_group(group, base, spec, observed)
        elif entry.action == "DELETE":
            yield wait_for_heat(entry, f"node group {group.name} is being deleted", attempts)
        elif step := change_revision(desired, group, entry, observed, attempts):
            yield step
        elif entry.state == "IN_PROGRESS":
            yield in_progress(spec, entry, size(entry.stack), observed)
        elif removal := remove_nodes(entry, min(size(entry.stack), group.count), desired.named, observed):
            yield with_api(spec, observed) or replace(
                removal, values=changed_values(entry, group, removal.size or 0, observed)
            )
        elif entry.state == "FAILED":
            yield _failed_group(spec, entry, observed, attempts)
        elif entry.lost and observed.key:
            yield _replace_lost(spec, entry, observed, attempts)
        else:
            yield move_nodes(desired, group, entry, observed, attempts)


def _plan_deleted(desired: DesiredState, observed: Observed, attempts: Attempts) -> Iterator[Step | None]:
    """The current revision of a group last: a run that continues sees by its deletion that the group is deleted."""
    for name in desired.deleted:
        current = observed.group(name)
        for entry in observed.former(name) or ([current] if current else []):
            if entry.action == "DELETE":
                yield wait_for_heat(entry, f"waiting for Heat: deleting node group {name}", attempts)
            else:
                yield with_api(desired.spec, observed) or remove_stack(entry, observed)


def _create_group(group: NodeGroup, base: ObservedStack, spec: ClusterSpec, observed: Observed) -> Step:
    """A group's nodes wait for the API, so they are created beside the control plane."""
    if not observed.key:
        return Fail(f"node group {group.name} cannot be created here: {NO_KEY}", used=True)
    if _was_ready(observed):
        return with_api(spec, observed) or CreateGroup(group, True, 1)
    if base.state == "IN_PROGRESS" and not explain.has_addresses(base.resources):
        return Wait(describe_waiting(spec, observed))
    return CreateGroup(group, False, 1)


def _was_ready(observed: Observed) -> bool:
    """Whether the control plane was ever Ready; until then the cluster's first join token is valid."""
    base = observed.base
    return base is not None and (base.state == "COMPLETE" or explain.control_plane_was_ready(base.resources))


def _failed_group(spec: ClusterSpec, entry: ObservedStack, observed: Observed, attempts: Attempts) -> Step:
    reason = explain.failure_reason(entry.stack, entry.resources)
    if attempts.repairs[entry.stack.name]:
        return Fail(reason, used=True)
    unready = [resource for resource in entry.lost if not _is_ready(resource, entry, observed)]
    if observed.key and unready:
        broken = replace(entry, lost=unready)
        return _replace(spec, broken, observed, f"repairing the node group ({reason})", repairs=True)
    return _retry(entry, reason)


def _is_ready(server: StackResource, entry: ObservedStack, observed: Observed) -> bool:
    """Whether the server's Node is Ready, whatever Heat recorded."""
    name = explain.node_name(server, entry.stack.name)
    return any(node.ready and (node.server or node.name) in (server.physical_id, name) for node in observed.nodes)


def _retry(entry: ObservedStack, reason: str) -> Step:
    return UpdateStack(entry.stack, f"updating the stack, to retry what failed ({reason})", repairs=True)


def _replace_lost(spec: ClusterSpec, entry: ObservedStack, observed: Observed, attempts: Attempts) -> Step:
    """Servers of the stack were deleted without Heat."""
    gone = explain.describe_missing(entry.lost, entry.stack.name)
    if attempts.replacements[entry.stack.name] >= MAX_ATTEMPTS:
        return Fail(gone, used=True)
    return _replace(spec, entry, observed, f"{gone}: replacing it")


def _replace(
    spec: ClusterSpec, entry: ObservedStack, observed: Observed, reason: str, *, repairs: bool = False
) -> Step:
    """The Nodes are deleted with their pods, so their servers have to be gone."""
    new_token = _was_ready(observed)
    if new_token and (wait := with_api(spec, observed)):
        return wait
    ids = {resource.physical_id for resource in entry.lost}
    if existing := [*entry.untracked, *(server for server in observed.servers if server.id in ids)]:
        return DeleteServers(existing)
    return ReplaceNodes(entry.stack, entry.lost, reason, new_token, repairs)


def _plan_removed(spec: ClusterSpec, observed: Observed) -> Step | None:
    """Nodes with the mark of a removal, when no more removal is planned."""
    there = [node_of(server, observed.nodes) for server in observed.servers]
    marked = [node for node in observed.nodes if node.removing and (node not in there or spec.group(node.group))]
    if gone := tuple(node.name for node in marked if node not in there):
        return DeleteNodes(gone)
    return CancelRemoval(tuple(node.name for node in marked)) if marked else None


def _plan_records(observed: Observed) -> Step | None:
    """Labels and taints of groups that Kubernetes does not have yet, or of deleted groups."""
    stacks = [entry.stack for entry in observed.groups if entry.action != "DELETE"]
    recorded = ((stack.name, recorded_group(stack)) for stack in stacks)
    groups = {name: group_record(group) for name, group in recorded if group.labels or group.taints}
    outdated = observed.kubernetes and observed.reachable and observed.kubernetes.groups != groups
    return RecordGroups(groups) if outdated else None
