"""Upgrade a node group: create its next revision, and move the nodes to it, some at a time. Pure."""

from __future__ import annotations

from moorage.clusters.parameters import needs_revision, recorded_group, recorded_values, revision, size
from moorage.clusters.removal import members_of, remove_nodes, remove_stack, running
from moorage.clusters.state import DesiredState, Observed, ObservedStack
from moorage.clusters.steps import AddNodes, Attempts, CancelRemoval, CreateGroup, MakeCurrent, RecordValues, Step
from moorage.clusters.waiting import describe_moves, wait_for_heat, with_api
from moorage.model.cluster import NodeGroup


def change_revision(
    desired: DesiredState, group: NodeGroup, entry: ObservedStack, observed: Observed, attempts: Attempts
) -> Step | None:
    """Create another revision of a group, or make a former one the current one."""
    former = observed.former(group.name)
    following = max(revision(it.stack) for it in (entry, *former)) + 1
    for other in former:
        if other.stack.name == desired.current.get(group.name):
            text = f"waiting for Heat: {other.stack.name}"
            waiting = wait_for_heat(other, text, attempts) or with_api(desired.spec, observed)
            return waiting or MakeCurrent(other.stack, group, following)
    if not needs_revision(group, recorded_group(entry.stack)):
        return None
    first = _surged(group, sum(size(it.stack) for it in (entry, *former)))
    return with_api(desired.spec, observed) or CreateGroup(group, True, following, first)


def _surged(group: NodeGroup, others: int) -> int:
    """How many nodes the current revision may have beside those of the others."""
    return max(min(group.count, group.count + group.max_surge - others), 0)


def move_nodes(
    desired: DesiredState, group: NodeGroup, entry: ObservedStack, observed: Observed, attempts: Attempts
) -> Step | None:
    """Add nodes up to the group's number, and remove those of former revisions, some at a time."""
    former, own = observed.former(group.name), size(entry.stack)
    if marked := [node.name for node in running(entry, observed) if node.removing]:
        return CancelRemoval(tuple(marked))
    for other in former:
        if busy := _busy_former(other, desired, observed, attempts):
            return busy
    target = max(own, _surged(group, sum(size(other.stack) for other in former)))
    values = changed_values(entry, group, target, observed)
    if own < target:
        return with_api(desired.spec, observed) or AddNodes(entry.stack, group, target, values)
    if values:
        return RecordValues(entry.stack, values)
    return _remove_former(desired, group, entry, observed)


def changed_values(entry: ObservedStack, group: NodeGroup, own: int, observed: Observed) -> dict[str, int]:
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
        return with_api(desired.spec, observed) or remove_stack(other, observed)
    moves = describe_moves(desired.spec, observed)
    return wait_for_heat(other, f"{moves}; Heat removes nodes of {other.stack.name}", attempts)


def _remove_former(desired: DesiredState, group: NodeGroup, entry: ObservedStack, observed: Observed) -> Step | None:
    """Remove nodes of former revisions: those that are not Ready, and as many others as are not needed any more.

    Those that are not Ready may be so for a moment only: they count as if they were, so that as many as were there
    before stay until the new ones are Ready.
    """
    former = observed.former(group.name)
    needed = group.count - group.max_unavailable - sum(node.ready for node in running(entry, observed))
    healthy = {it.stack.name: sum(member.ready for member in members_of(it, observed)) for it in former}
    surplus = max(sum(healthy.values()) - needed, 0)
    cleanup = max(sum(size(other.stack) for other in former) - needed, 0)
    for other in former:
        ready = min(healthy[other.stack.name], size(other.stack))
        left = size(other.stack) - min(size(other.stack) - ready, cleanup) - min(ready, surplus)
        if step := remove_nodes(other, left, (), observed) if left else remove_stack(other, observed):
            return with_api(desired.spec, observed) or step
    return None
