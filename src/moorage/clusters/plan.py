"""Plan the next step of a cluster's creation or deletion. Pure: from the spec and the observed state to one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from moorage.cloud.port import Server, Stack, StackResource
from moorage.clusters import explain
from moorage.clusters.owned.resources import CleanupPlan, CleanupPreview, Deletion
from moorage.clusters.parameters import differences
from moorage.kube.port import KubeNode
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
    """Make the client's private key if this machine has none, and ask Heat for the stack."""


@dataclass(frozen=True)
class DeleteStack:
    """Ask Heat to delete the stack; `why` is for the person who watches. What Heat does not know of goes first where
    there may be such things: `delete_orphans`, and what has failed."""

    stack: Stack
    why: str
    delete_orphans: bool = False


@dataclass(frozen=True)
class DeleteOwned:
    """Take away what the cluster made by itself; with no acts, wait for what was asked for."""

    deletions: Sequence[Deletion]
    waiting: Sequence[str]


@dataclass(frozen=True)
class DeleteOrphans:
    """Take away what Heat has lost and waits for: it would try for a minute, and fail then. The ids are of all that
    Heat still has, its networks among them."""

    ids: Sequence[str]


@dataclass(frozen=True)
class ResumeStack:
    """Update the stack without changes, so that Heat resumes it.

    `attached` are a router and a subnet that Heat is to join.
    """

    stack: Stack
    why: str
    attached: tuple[str, str] | None = None


@dataclass(frozen=True)
class ReplaceNodes:
    """Have Heat recreate the nodes to which these servers belonged; they join with a token of their own."""

    stack: Stack
    servers: Sequence[StackResource]
    why: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do but to look again soon."""

    why: str


@dataclass(frozen=True)
class Reject:
    """The name is taken by a cluster that was asked for differently."""

    differences: Sequence[str]


@dataclass(frozen=True)
class Fail:
    """It did not work, and trying again would not help; `used` is whether the cluster was well before."""

    reason: str
    used: bool = False


@dataclass(frozen=True)
class DeleteKey:
    """The stack is gone: prove that nothing else is left, and drop the key."""


@dataclass(frozen=True)
class Done:
    """Observed is wanted; `note` says what could not be checked."""

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
    """How often this run did what may not be done forever."""

    creations: int = 0
    deletions: int = 0
    resumptions: int = 0
    replacements: int = 0


def plan_creation(spec: ClusterSpec, observed: Observed, attempts: Attempts) -> Step:
    """The next step to a cluster that is made and well."""
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
    return _settled(spec, observed)


def _previous_stack(stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """The name's former stack is on its way out."""
    if stack.status == "DELETE_FAILED":
        return plan_deletion(observed, attempts)
    step = _deleting(observed)
    return (
        replace(step, why=f"the former {stack.name} is being deleted: {step.why}") if isinstance(step, Wait) else step
    )


def _delete_untracked(stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """Heat died before it had noted what it made, and cannot make it once more as long as that is there.

    What this very run asked for, and has not called made, nobody uses. Elsewhere Heat may be at replacing such servers.
    """
    told = f"Heat does not know that it made {', '.join(server.name for server in observed.untracked)}"
    return (
        Fail(told)
        if attempts.creations >= MAX_ATTEMPTS
        else DeleteStack(stack, f"{told}: recreating all of it", delete_orphans=True)
    )


def _failed(stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    reason = explain.failure(stack, observed.resources)
    if attempts.resumptions < MAX_ATTEMPTS and (attached := explain.attached(observed.resources)):
        return ResumeStack(stack, "detaching a subnet that Heat does not know that it attached to its router", attached)
    if attempts.resumptions < MAX_ATTEMPTS and explain.interrupted(reason):
        if observed.unchanged_for < UNCHANGED_LIMIT_AFTER_OUTAGE:
            return Wait("Heat broke off; it may go on by itself")
        return ResumeStack(stack, "Heat broke off: asking it to go on")
    if explain.control_plane_was_ready(observed.resources):
        return _repair(stack, reason, attempts)
    if attempts.creations >= MAX_ATTEMPTS:
        return Fail(reason)
    if explain.passing(f"{stack.reason} {reason}"):
        return DeleteStack(stack, f"a service was away for a moment ({reason}): recreating it")
    if attempts.resumptions:  # Heat stumbled over what it had half done before
        return DeleteStack(stack, f"Heat could not go on ({reason}): recreating it")
    return Fail(reason)


def _repair(stack: Stack, reason: str, attempts: Attempts) -> Step:
    """People may have put something into this cluster: it is mended or left as it is, and never recreated."""
    passing = explain.passing(f"{stack.reason} {reason}") and attempts.resumptions < MAX_ATTEMPTS
    if passing or (stack.status == "UPDATE_FAILED" and not attempts.resumptions):
        return ResumeStack(stack, f"asking Heat to try again what failed ({reason})")
    return Fail(reason, used=stack.status == "UPDATE_FAILED")


def _replace_missing(spec: ClusterSpec, stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """Servers are gone that nobody asked Heat to delete."""
    gone = explain.gone(observed.missing, stack.name)
    if explain.with_control_plane(observed.missing):
        return Fail(gone)
    if attempts.replacements >= MAX_ATTEMPTS:
        return Fail(gone, used=True)
    if observed.kubernetes is None or observed.kubernetes.unreachable:
        return _settled(spec, observed)
    return ReplaceNodes(stack, observed.missing, f"{gone}: having Heat recreate that")


def _in_progress(spec: ClusterSpec, stack: Stack, observed: Observed) -> Step:
    """Kubernetes may be well before Heat has noticed: what is left then is Heat's own bookkeeping.

    Not so while a server is not complete: Nova may call it failed although it runs, and Heat make another.
    """
    served = explain.servers_complete(observed.resources) >= spec.nodes
    if served and observed.key and observed.kubernetes and isinstance(_settled(spec, observed), Done):
        return Done()
    if observed.stuck:
        return ResumeStack(stack, f"Heat has shown no change for {observed.unchanged_for:.0f} s: asking it to go on")
    return Wait(explain.waiting(observed.resources, spec.nodes))


def _settled(spec: ClusterSpec, observed: Observed) -> Step:
    if not observed.key:
        return Done("the stack is complete; the private key is on another machine, so Kubernetes was not asked")
    asked = observed.kubernetes
    if asked is None or asked.unreachable:
        return Wait(f"waiting for the Kubernetes API: {asked.unreachable if asked else 'not asked yet'}")
    if asked.problem:
        return Wait(f"the cluster cannot ask its cloud: {asked.problem}")
    missing = [f"{node.name}: {node.reason}" for node in asked.nodes if not node.ready]
    if len(asked.nodes) < spec.nodes or missing:
        ready = sum(node.ready for node in asked.nodes)
        return Wait(f"waiting for nodes: {ready} of {spec.nodes} Ready" + "".join(f"; {text}" for text in missing[:1]))
    return Done() if asked.dns else Wait("waiting for CoreDNS, by which pods find Services")


def plan_deletion(observed: Observed, attempts: Attempts) -> Step:
    """The next step to nothing left: what stands in the cluster's network, the stack, what its servers had."""
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
            return DeleteStack(stack, f"Heat has shown no change for {observed.unchanged_for:.0f} s: asking it again")
        if storage.deletions:
            return DeleteOwned(storage.deletions, ())
        return _deleting(observed)
    if stack.status == "DELETE_FAILED":
        reason = explain.failure(stack, observed.resources)
        if attempts.deletions >= MAX_ATTEMPTS and not explain.passing(f"{stack.reason} {reason}"):
            return Fail(reason)
        return DeleteStack(stack, f"deletion failed ({reason}): asking again")
    return DeleteStack(stack, "deleting servers, addresses and network")


def _deleting(observed: Observed) -> Wait | DeleteOrphans:
    """Heat is at it, and should not take long once no server is left."""
    held = explain.held(observed.resources)
    if observed.unchanged_for < ORPHANS_AFTER or any(resource.type == explain.SERVER for resource in held):
        return Wait(explain.removing(observed.resources))
    return DeleteOrphans([resource.physical_id for resource in held])


def _after_stack(storage: CleanupPlan) -> Step:
    """Heat has nothing left. What cannot be deleted is told once all else is gone."""
    if storage.deletions or storage.waiting:
        return DeleteOwned(storage.deletions, storage.waiting)
    return Fail("; ".join(storage.blocked)) if storage.blocked else DeleteKey()
