"""Plan the next step of a cluster's creation or deletion. Pure: from the spec and the observed state to one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import explain
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.owned.resources import CleanupPlan, CleanupPreview, Deletion
from moorage.clusters.parameters import differences
from moorage.model.cluster import ClusterSpec

MAX_ATTEMPTS = 3  # creations, deletions, updates of one kind before the plan fails
UNCHANGED_LIMIT, UNCHANGED_LIMIT_AFTER_OUTAGE = 300.0, 20.0
"""Seconds without a change after which the stack is updated: in general, and when Heat did not answer meanwhile.

An engine that died leaves its stacks in progress; an update makes another engine resume them."""
ORPHANS_AFTER = 5.0
"""Seconds for which Heat may be deleting a network without servers before ports are searched that it does not know."""


@dataclass(frozen=True)
class Kubernetes:
    """The state that the cluster's Kubernetes API reports.

    `unreachable` is why the API could not be asked, `problem` why the cluster cannot reach its cloud; else empty.
    """

    nodes: Sequence[KubeNode] = ()
    dns: bool = False
    unreachable: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Observed:
    """The observed state of a cluster.

    `key` is whether this machine has the client's key for this stack. `kubernetes` is None when it was not asked.
    `unchanged_for` is the number of seconds since the stack last changed, `unresponsive` whether Heat failed to answer
    in that time. `preview` lists what the cluster owns beside its stack, and is set for a deletion only. `servers` are
    Nova's servers of a complete stack, `missing` the stack's servers that Nova does not have, `untracked` servers in
    Nova that Heat does not know and that are in the place of servers that it failed to create.
    """

    stack: Stack | None
    resources: Sequence[StackResource] = ()
    key: bool = False
    kubernetes: Kubernetes | None = None
    unchanged_for: float = 0.0
    unresponsive: bool = False
    preview: CleanupPreview = field(default_factory=CleanupPreview)
    servers: Sequence[Server] = ()
    missing: Sequence[StackResource] = ()
    untracked: Sequence[Server] = ()

    @property
    def absent(self) -> bool:
        """Whether nothing of the cluster exists but what is kept."""
        return self.stack is None and not self.key and self.preview.done

    @property
    def stuck(self) -> bool:
        return self.unchanged_for >= (UNCHANGED_LIMIT_AFTER_OUTAGE if self.unresponsive else UNCHANGED_LIMIT)


@dataclass(frozen=True)
class CreateStack:
    """Create the client's private key if this machine has none, and request the stack from Heat."""


@dataclass(frozen=True)
class DeleteStack:
    """Request the stack's deletion.

    `reason` is a message for the user. With `delete_orphans`, and for a failed stack, resources that Heat does not know
    are deleted first.
    """

    stack: Stack
    reason: str
    delete_orphans: bool = False


@dataclass(frozen=True)
class DeleteOwned:
    """Delete resources that the cluster owns; without deletions, wait for those that were requested."""

    deletions: Sequence[Deletion]
    waiting: Sequence[str]


@dataclass(frozen=True)
class DeleteOrphans:
    """Delete what Heat does not know and what blocks its deletion, which it would retry for a minute before failing.

    `ids` are of all resources that Heat still has, its networks among them.
    """

    ids: Sequence[str]


@dataclass(frozen=True)
class ResumeStack:
    """Update the stack without changes, so that Heat resumes it.

    `unrecorded_attachment` are the ids of a router and a subnet that Heat must be able to connect.
    """

    stack: Stack
    reason: str
    attached: tuple[str, str] | None = None


@dataclass(frozen=True)
class ReplaceNodes:
    """Make Heat recreate the nodes of these servers; they join with a new token."""

    stack: Stack
    servers: Sequence[StackResource]
    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do but observe again soon."""

    reason: str


@dataclass(frozen=True)
class Reject:
    """A cluster of that name exists, with a different spec."""

    differences: Sequence[str]


@dataclass(frozen=True)
class Fail:
    """Creation or deletion failed, and a retry would not help; `used` is whether the cluster was ready before."""

    reason: str
    used: bool = False


@dataclass(frozen=True)
class DeleteKey:
    """The stack is deleted: verify that nothing remains, and delete the key."""


@dataclass(frozen=True)
class Done:
    """The observed state is the desired one; `note` says what could not be checked."""

    note: str = ""


Step = (
    CreateStack
    | DeleteStack
    | DeleteOwned
    | DeleteOrphans
    | ResumeStack
    | ReplaceNodes
    | Wait
    | Reject
    | Fail
    | DeleteKey
    | Done
)


@dataclass(frozen=True)
class Attempts:
    """Attempts of this run, to bound retries."""

    creations: int = 0
    deletions: int = 0
    resumptions: int = 0
    replacements: int = 0


def plan_creation(spec: ClusterSpec, observed: Observed, attempts: Attempts) -> Step:
    """The next step towards a cluster that is created and ready."""
    stack = observed.stack
    if stack is None:
        return CreateStack()
    action, _, state = stack.status.partition("_")
    if action == "DELETE":
        return _previous_stack(stack, observed, attempts)
    if different := differences(spec, stack):
        return Reject(different)
    if observed.untracked and attempts.creations:
        return _delete_untracked(stack, observed, attempts)
    if state == "IN_PROGRESS":
        return _in_progress(spec, stack, observed)
    if state == "FAILED":
        return _failed(stack, observed, attempts)
    if observed.key and observed.missing:
        return _replace_missing(spec, stack, observed, attempts)
    return _wait_for_nodes(spec, observed)


def _previous_stack(stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """A previous stack of that name is being deleted."""
    if stack.status == "DELETE_FAILED":
        return plan_deletion(observed, attempts)
    step = _deleting(observed)
    return (
        replace(step, reason=f"the previous {stack.name} is being deleted: {step.reason}")
        if isinstance(step, Wait)
        else step
    )


def _delete_untracked(stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """Heat died before it recorded servers that it had created, and cannot create them again while those exist.

    No user has the cluster that this run requested and has not reported as created. In any other cluster Heat may be
    replacing such servers.
    """
    message = f"Heat does not know that it created {', '.join(server.name for server in observed.untracked)}"
    return (
        Fail(message)
        if attempts.creations >= MAX_ATTEMPTS
        else DeleteStack(stack, f"{message}: recreating the stack", delete_orphans=True)
    )


def _failed(stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    reason = explain.failure_reason(stack, observed.resources)
    if attempts.resumptions < MAX_ATTEMPTS and (attached := explain.unrecorded_attachment(observed.resources)):
        return ResumeStack(stack, "detaching a subnet that Heat attached to its router without recording it", attached)
    if attempts.resumptions < MAX_ATTEMPTS and explain.was_interrupted(reason):
        if observed.unchanged_for < UNCHANGED_LIMIT_AFTER_OUTAGE:
            return Wait("Heat was interrupted; waiting for it to resume")
        return ResumeStack(stack, "Heat was interrupted: resuming the stack")
    if explain.control_plane_was_ready(observed.resources):
        return _repair(stack, reason, attempts)
    if attempts.creations >= MAX_ATTEMPTS:
        return Fail(reason)
    if explain.is_transient(f"{stack.reason} {reason}"):
        return DeleteStack(stack, f"a service was unavailable for a moment ({reason}): recreating the stack")
    if attempts.resumptions:  # Heat failed over resources that it had created partly
        return DeleteStack(stack, f"Heat could not resume ({reason}): recreating the stack")
    return Fail(reason)


def _repair(stack: Stack, reason: str, attempts: Attempts) -> Step:
    """Users may have deployed something in this cluster: repair it or leave it as it is, but never recreate it."""
    is_transient = explain.is_transient(f"{stack.reason} {reason}") and attempts.resumptions < MAX_ATTEMPTS
    if is_transient or (stack.status == "UPDATE_FAILED" and not attempts.resumptions):
        return ResumeStack(stack, f"resuming the stack, to retry what failed ({reason})")
    return Fail(reason, used=stack.status == "UPDATE_FAILED")


def _replace_missing(spec: ClusterSpec, stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """Servers of the stack were deleted without Heat."""
    gone = explain.describe_missing(observed.missing, stack.name)
    if explain.includes_control_plane(observed.missing):
        return Fail(gone)
    if attempts.replacements >= MAX_ATTEMPTS:
        return Fail(gone, used=True)
    if observed.kubernetes is None or observed.kubernetes.unreachable:
        return _wait_for_nodes(spec, observed)
    return ReplaceNodes(stack, observed.missing, f"{gone}: replacing it")


def _in_progress(spec: ClusterSpec, stack: Stack, observed: Observed) -> Step:
    """Kubernetes may be ready before Heat records that; then only Heat's own records are incomplete.

    The cluster is not done while a server is incomplete: Nova may report it as failed although it runs, and Heat would
    create another one.
    """
    served = explain.servers_complete(observed.resources) >= spec.nodes
    if served and observed.key and observed.kubernetes and isinstance(_wait_for_nodes(spec, observed), Done):
        return Done()
    if observed.stuck:
        return ResumeStack(stack, f"the stack has not changed for {observed.unchanged_for:.0f} s: resuming it")
    return Wait(explain.describe_waiting(observed.resources, spec.nodes))


def _wait_for_nodes(spec: ClusterSpec, observed: Observed) -> Step:
    if not observed.key:
        return Done("the stack is complete; the private key is on another machine, so Kubernetes was not asked")
    asked = observed.kubernetes
    if asked is None or asked.unreachable:
        return Wait(f"waiting for the Kubernetes API: {asked.unreachable if asked else 'not asked yet'}")
    if asked.problem:
        return Wait(f"the cluster cannot reach its cloud: {asked.problem}")
    missing = [f"{node.name}: {node.reason}" for node in asked.nodes if not node.ready]
    if len(asked.nodes) < spec.nodes or missing:
        ready = sum(node.ready for node in asked.nodes)
        return Wait(f"waiting for nodes: {ready} of {spec.nodes} Ready" + "".join(f"; {text}" for text in missing[:1]))
    return Done() if asked.dns else Wait("waiting for CoreDNS")


def plan_deletion(observed: Observed, attempts: Attempts) -> Step:
    """The next step towards a deleted cluster: resources in its network first, then the stack, then its servers'
    volumes.
    """
    stack, storage = observed.stack, observed.preview.storage
    for first in (observed.preview.retention, observed.preview.network):
        if first.blocked:
            return Fail("; ".join(first.blocked))
        if not first.done:
            return DeleteOwned(first.deletions, first.waiting)
    if stack is None:
        return _after_stack(storage)
    if stack.status == "DELETE_IN_PROGRESS":
        if observed.stuck:
            return DeleteStack(
                stack, f"the stack has not changed for {observed.unchanged_for:.0f} s: deleting it again"
            )
        if storage.deletions:
            return DeleteOwned(storage.deletions, ())
        return _deleting(observed)
    if stack.status == "DELETE_FAILED":
        reason = explain.failure_reason(stack, observed.resources)
        if attempts.deletions >= MAX_ATTEMPTS and not explain.is_transient(f"{stack.reason} {reason}"):
            return Fail(reason)
        return DeleteStack(stack, f"deletion failed ({reason}): trying again")
    return DeleteStack(stack, "deleting servers, addresses and network")


def _deleting(observed: Observed) -> Wait | DeleteOrphans:
    """Heat is deleting the stack, which does not take long once no server is left."""
    held = explain.existing_resources(observed.resources)
    if observed.unchanged_for < ORPHANS_AFTER or any(resource.type == explain.SERVER for resource in held):
        return Wait(explain.describe_deletion(observed.resources))
    return DeleteOrphans([resource.physical_id for resource in held])


def _after_stack(storage: CleanupPlan) -> Step:
    """The stack is deleted. Report what cannot be deleted once everything else is."""
    if storage.deletions or storage.waiting:
        return DeleteOwned(storage.deletions, storage.waiting)
    return Fail("; ".join(storage.blocked)) if storage.blocked else DeleteKey()
