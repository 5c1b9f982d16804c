"""Plan the next step towards a cluster's spec. Pure: from the spec and the observed state to one step."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from moorage.cloud.port.stacks import StackResource
from moorage.clusters import explain
from moorage.clusters.kubernetes import KubeNode, group_record, node_name, node_of
from moorage.clusters.parameters import (
    needs_revision,
    recorded_group,
    recorded_values,
    requested_removals,
    revision,
    size,
)
from moorage.clusters.state import DesiredState, Observed, ObservedStack
from moorage.clusters.steps import (
    AddNodes,
    Attempts,
    CancelRemoval,
    CreateBase,
    CreateGroup,
    DeleteInfrastructure,
    DeleteNodes,
    DeleteServers,
    DeleteStack,
    Done,
    Fail,
    MakeCurrent,
    RecordGroups,
    RecordValues,
    RemoveNodes,
    ReplaceNodes,
    Step,
    UpdateStack,
    Wait,
)
from moorage.model.cluster import CONTROL_PLANE, ClusterSpec, NodeGroup
from moorage.model.nodes import stack_of

MAX_ATTEMPTS = 3  # creations of the cluster, and replacements of missing nodes, before the plan fails
NO_KEY = "the cluster's private key is on another machine"


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
    return _plan_removed(spec, observed) or _plan_records(observed) or _wait_for_nodes(spec, observed)


def _previous(name: str) -> str:
    return f"the previous {name} is being deleted"


def _urgency(step: Step) -> int:
    """Requests first; a group that failed does not stop the others."""
    return 2 if isinstance(step, Fail) else 1 if isinstance(step, Wait | Done) else 0


def _plan_base(desired: DesiredState, base: ObservedStack, observed: Observed, attempts: Attempts) -> Step | None:
    spec = desired.spec
    if base.state == "IN_PROGRESS":
        return _in_progress(spec, base, spec.control_plane_nodes, observed)
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
            text = f"node group {group.name} is being deleted"
            yield Wait(text) if entry.state == "IN_PROGRESS" else _delete_again(entry, text, attempts)
        elif step := _change_revision(desired, group, entry, observed, attempts):
            yield step
        elif entry.state == "IN_PROGRESS":
            yield _in_progress(spec, entry, size(entry.stack), observed)
        elif removal := _remove_nodes(entry, min(size(entry.stack), group.count), desired.named, observed):
            yield _with_api(spec, observed) or replace(
                removal, values=_changed_values(entry, group, removal.size or 0, observed)
            )
        elif entry.state == "FAILED":
            yield _failed_group(spec, entry, observed, attempts)
        elif entry.lost and observed.key:
            yield _replace_lost(spec, entry, observed, attempts)
        else:
            yield _move_nodes(desired, group, entry, observed, attempts)


def _change_revision(
    desired: DesiredState, group: NodeGroup, entry: ObservedStack, observed: Observed, attempts: Attempts
) -> Step | None:
    """Create another revision of a group, or make a former one the current one."""
    former = observed.former(group.name)
    following = max(revision(it.stack) for it in (entry, *former)) + 1
    for other in former:
        if other.stack.name == desired.current.get(group.name):
            text = f"waiting for Heat: {other.stack.name}"
            return _busy(other, text, attempts) or MakeCurrent(other.stack, group, following)
    if not needs_revision(group, recorded_group(entry.stack)):
        return None
    first = _surged(group, sum(size(it.stack) for it in (entry, *former)))
    return _with_api(desired.spec, observed) or CreateGroup(group, True, following, first)


def _surged(group: NodeGroup, others: int) -> int:
    """How many nodes the current revision may have beside those of the others."""
    return max(min(group.count, group.count + group.max_surge - others), 0)


def _move_nodes(
    desired: DesiredState, group: NodeGroup, entry: ObservedStack, observed: Observed, attempts: Attempts
) -> Step | None:
    """Add nodes up to the group's number, and remove those of former revisions, some at a time."""
    former, own = observed.former(group.name), size(entry.stack)
    if marked := [node.name for node in _running(entry, observed) if node.removing]:
        return CancelRemoval(tuple(marked))
    for other in former:
        if busy := _busy_former(other, desired, observed, attempts):
            return busy
    target = max(own, _surged(group, sum(size(other.stack) for other in former)))
    values = _changed_values(entry, group, target, observed)
    if own < target:
        return _with_api(desired.spec, observed) or AddNodes(entry.stack, group, target, values)
    if values:
        return RecordValues(entry.stack, values)
    return _remove_former(desired, group, entry, observed)


def _changed_values(entry: ObservedStack, group: NodeGroup, own: int, observed: Observed) -> dict[str, int]:
    """What the stack is to record of the group when it has its `own` nodes, and does not yet.

    The group's number only during an upgrade, so that a user can change the number of the one stack by hand.
    """
    is_moving = bool(observed.former(group.name)) or own != group.count
    desired = {
        "desired_count": group.count if is_moving else -1,
        "max_surge": group.max_surge,
        "max_unavailable": group.max_unavailable,
    }
    recorded = recorded_values(entry.stack)
    return {name: value for name, value in desired.items() if value != recorded[name]}


def _busy_former(other: ObservedStack, desired: DesiredState, observed: Observed, attempts: Attempts) -> Step | None:
    """What to do while Heat works on a former stack; one of which no node has joined is deleted at once."""
    if other.state == "IN_PROGRESS" and other.action != "DELETE" and not observed.nodes_of(other.stack.name):
        return _with_api(desired.spec, observed) or _delete_group(other, observed)
    moves = describe_moves(desired.spec, observed)
    return _busy(other, f"{moves}; Heat removes nodes of {other.stack.name}", attempts)


def _remove_former(desired: DesiredState, group: NodeGroup, entry: ObservedStack, observed: Observed) -> Step | None:
    """Remove nodes of former revisions: those that do not run, and as many others as are not needed any more."""
    former = observed.former(group.name)
    ready = sum(node.ready for node in _running(entry, observed))
    members = {other.stack.name: _members(other, observed) for other in former}
    healthy = sum(not member.broken for own in members.values() for member in own)
    surplus = max(min(ready + healthy + group.max_unavailable - group.count, healthy), 0)
    for other in former:
        own = members[other.stack.name]
        broken = size(other.stack) - sum(not member.broken for member in own)
        left = max(size(other.stack) - broken - surplus, 0)
        if step := _remove_nodes(other, left, (), observed) if left else _delete_group(other, observed):
            return _with_api(desired.spec, observed) or step
    return None


def _running(entry: ObservedStack, observed: Observed) -> list[KubeNode]:
    """The stack's Nodes that have a server, and that Heat was not requested to remove."""
    there, requested = [node_of(server, observed.nodes) for server in observed.servers], requested_removals(entry.stack)
    nodes = observed.nodes_of(entry.stack.name)
    return [node for node in nodes if node in there and node.name not in requested]


def _busy(entry: ObservedStack, text: str, attempts: Attempts) -> Step | None:
    """What to do while Heat works on a stack, or when it failed to delete it."""
    if entry.action == "DELETE" and (entry.state == "FAILED" or entry.unchanged.stuck):
        return _delete_again(entry, f"deleting {entry.stack.name}", attempts)
    if entry.state != "IN_PROGRESS":
        return None
    return _resume(entry) if entry.unchanged.stuck else Wait(text)


def _delete_group(entry: ObservedStack, observed: Observed) -> RemoveNodes:
    members = [member.node for member in _members(entry, observed) if member.node and not member.lost]
    return RemoveNodes(entry.stack, (), tuple(members))


def _plan_deleted(desired: DesiredState, observed: Observed, attempts: Attempts) -> Iterator[Step | None]:
    for entry in observed.groups:
        group = recorded_group(entry.stack)
        if group.name not in desired.deleted:
            continue
        text = f"deleting node group {group.name}"
        if entry.action != "DELETE":
            yield _with_api(desired.spec, observed) or _delete_group(entry, observed)
        else:
            waiting = entry.state == "IN_PROGRESS"
            yield Wait(f"waiting for Heat: {text}") if waiting else _delete_again(entry, text, attempts)


def _delete_again(entry: ObservedStack, text: str, attempts: Attempts) -> Step:
    reason = explain.failure_reason(entry.stack, entry.resources)
    if attempts.repairs[entry.stack.name] >= MAX_ATTEMPTS:
        return Fail(f"{text}: {reason}", used=True)
    return DeleteStack(entry.stack, f"{text} again ({reason})")


def _create_group(group: NodeGroup, base: ObservedStack, spec: ClusterSpec, observed: Observed) -> Step:
    """A group's nodes wait for the API, so they are created beside the control plane."""
    if not observed.key:
        return Fail(f"node group {group.name} cannot be created here: {NO_KEY}", used=True)
    if _was_ready(observed):
        return _with_api(spec, observed) or CreateGroup(group, True, 1)
    if base.state == "IN_PROGRESS" and not explain.has_addresses(base.resources):
        return Wait(describe_waiting(spec, observed))
    return CreateGroup(group, False, 1)


def _was_ready(observed: Observed) -> bool:
    """Whether the control plane was ever Ready; until then the cluster's first join token is valid."""
    base = observed.base
    return base is not None and (base.state == "COMPLETE" or explain.control_plane_was_ready(base.resources))


def _with_api(spec: ClusterSpec, observed: Observed) -> Step | None:
    """What to wait for until Kubernetes can be given a new join token, or be asked to drain nodes."""
    if not observed.key:
        return Fail(f"nodes cannot be added or removed here: {NO_KEY}", used=True)
    return None if observed.reachable else _wait_for_nodes(spec, observed)


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
    if new_token and (wait := _with_api(spec, observed)):
        return wait
    ids = {resource.physical_id for resource in entry.lost}
    if existing := [*entry.untracked, *(server for server in observed.servers if server.id in ids)]:
        return DeleteServers(existing)
    return ReplaceNodes(entry.stack, entry.lost, reason, new_token, repairs)


@dataclass(frozen=True)
class _Member:
    """A node of a group: its server, or the resource of a lost one. `node` is the name of its Node, if it has one."""

    name: str
    node: str
    server: str = ""
    lost: StackResource | None = None
    removing: bool = False
    broken: bool = True


def _members(entry: ObservedStack, observed: Observed) -> list[_Member]:
    names, lost_ids = {node.name for node in observed.nodes}, {resource.physical_id for resource in entry.lost}
    found = []
    for server in observed.servers:
        node = node_of(server, observed.nodes)
        name = node.name if node else node_name(server)
        if stack_of(name) == entry.stack.name and server.id not in lost_ids:
            broken = node is None or not node.ready or server.status != "ACTIVE"
            removing = bool(node and node.removing)
            found.append(_Member(name, node.name if node else "", server.id, None, removing, broken))
    for resource in entry.lost:
        name = explain.node_name(resource, entry.stack.name)
        found.append(_Member(name, name if name in names else "", lost=resource))
    return found


def _remove_nodes(entry: ObservedStack, target: int, named: Collection[str], observed: Observed) -> RemoveNodes | None:
    """First the nodes that are named, then those of which the removal has begun, then broken ones, then the newest.

    The stack keeps `target` nodes; for more named ones, others are created.
    """
    members, requested = _members(entry, observed), requested_removals(entry.stack)
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


def _age(member: _Member) -> tuple[bool, bool, int]:
    """Smallest for the node to remove first; indexes grow with time."""
    index = member.name.rpartition("-")[2]
    return not member.removing, not member.broken, -int(index) if index.isdigit() else 0


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


def _in_progress(spec: ClusterSpec, entry: ObservedStack, servers: int, observed: Observed) -> Step | None:
    """Kubernetes may be ready before Heat records that; then only Heat's own records are incomplete.

    The cluster is not done while a server is incomplete: Nova may report it as failed although it runs, and Heat would
    create another one.
    """
    removing = any(node.removing and node.group == entry.group for node in observed.nodes)
    served = explain.servers_complete(entry.resources) >= servers and not removing
    if served and observed.key and observed.kubernetes and isinstance(_wait_for_nodes(spec, observed), Done):
        return None
    return _resume(entry) if entry.unchanged.stuck else Wait(describe_waiting(spec, observed))


def _resume(entry: ObservedStack) -> UpdateStack:
    text = f"stack {entry.stack.name} has not changed for {entry.unchanged.seconds:.0f} s: resuming it"
    return UpdateStack(entry.stack, text)


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
        if entry and observed.former(group.name):
            ready = sum(node.ready for node in observed.nodes_of(entry.stack.name))
            of = f"{entry.stack.name} Ready" if observed.reachable else entry.stack.name
            number = f"{ready} of {group.count}" if observed.reachable else f"{size(entry.stack)} of {group.count}"
            moves.append(f"upgrading node group {group.name}: {number} nodes of {of}")
    return "; ".join(moves)


def _is_complete(entry: ObservedStack | None) -> bool:
    return entry is not None and entry.state == "COMPLETE"


def _wait_for_nodes(spec: ClusterSpec, observed: Observed) -> Wait | Done | Fail:
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
