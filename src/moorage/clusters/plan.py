"""Plan the next step of a cluster's creation. Pure: from the spec and the observed state to one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import explain
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.parameters import differences
from moorage.clusters.progress import Unchanged
from moorage.model.cluster import ClusterSpec

MAX_ATTEMPTS = 3  # creations of the stack, and replacements of missing nodes, before the plan fails


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
    `unchanged` is for how long the stack has not changed. `servers` are Nova's servers of a stack that is complete or
    failed, `lost` the stack's servers that Nova does not have or that are incomplete in a failed stack, `untracked`
    servers in Nova that are in the place of those and that Heat does not know.
    """

    stack: Stack | None
    resources: Sequence[StackResource] = ()
    key: bool = False
    kubernetes: Kubernetes | None = None
    unchanged: Unchanged = field(default_factory=Unchanged)
    servers: Sequence[Server] = ()
    lost: Sequence[StackResource] = ()
    untracked: Sequence[Server] = ()


@dataclass(frozen=True)
class CreateStack:
    """Create the client's private key if this machine has none, and request the stack from Heat."""


@dataclass(frozen=True)
class DeleteStack:
    """Delete the stack, and all infrastructure of the cluster; `reason` is a message for the user."""

    stack: Stack
    reason: str


@dataclass(frozen=True)
class DeleteServers:
    """Delete servers that Heat does not know, because they have the ports that others need."""

    servers: Sequence[Server]


@dataclass(frozen=True)
class UpdateStack:
    """Update the stack without changes, so that Heat resumes it and retries what failed."""

    stack: Stack
    reason: str
    repairs: bool = False


@dataclass(frozen=True)
class ReplaceNodes:
    """Make Heat create new nodes in place of those of these servers; they join with a new token."""

    stack: Stack
    servers: Sequence[StackResource]
    reason: str
    repairs: bool = False


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
    """Creation failed, and a retry would not help; `used` is whether the cluster was ready before."""

    reason: str
    used: bool = False


@dataclass(frozen=True)
class Done:
    """The observed state is the desired one; `note` says what could not be checked."""

    note: str = ""


Step = CreateStack | DeleteStack | DeleteServers | UpdateStack | ReplaceNodes | Wait | Reject | Fail | Done


@dataclass(frozen=True)
class Attempts:
    """Attempts of this run, to bound retries: creations of the stack, updates of a failed one, replacements of nodes
    that were lost in a complete one.
    """

    creations: int = 0
    repairs: int = 0
    replacements: int = 0


def plan_creation(spec: ClusterSpec, observed: Observed, attempts: Attempts) -> Step:
    """The next step towards a cluster that is created and ready."""
    stack = observed.stack
    if stack is None:
        return CreateStack()
    action, _, state = stack.status.partition("_")
    if action == "DELETE":
        return DeleteStack(stack, f"the previous {stack.name} is being deleted")
    if different := differences(spec, stack):
        return Reject(different)
    if state == "IN_PROGRESS":
        return _in_progress(spec, stack, observed)
    if state == "FAILED":
        return _failed(spec, stack, observed, attempts)
    if observed.key and observed.lost:
        return _replace_lost(spec, stack, observed, attempts)
    return _wait_for_nodes(spec, observed)


def _failed(spec: ClusterSpec, stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """Recreate a cluster that was never ready, or that this run requested and cannot reach.

    In any other one users may have deployed something.
    """
    reason = explain.failure_reason(stack, observed.resources)
    reachable = observed.kubernetes is not None and not observed.kubernetes.unreachable
    unused = bool(attempts.creations) and not reachable
    if unused or not explain.control_plane_was_ready(observed.resources):
        if attempts.creations >= MAX_ATTEMPTS:
            return Fail(reason)
        return DeleteStack(stack, f"creation failed ({reason}): recreating the stack")
    if attempts.repairs or explain.includes_control_plane(observed.lost):
        return Fail(reason, used=True)
    if reachable and observed.lost:
        return _replace(spec, stack, observed, f"repairing the stack ({reason})", repairs=True)
    return UpdateStack(stack, f"updating the stack, to retry what failed ({reason})", repairs=True)


def _replace_lost(spec: ClusterSpec, stack: Stack, observed: Observed, attempts: Attempts) -> Step:
    """Servers of the stack were deleted without Heat."""
    gone = explain.describe_missing(observed.lost, stack.name)
    if explain.includes_control_plane(observed.lost):
        return Fail(gone)
    if attempts.replacements >= MAX_ATTEMPTS:
        return Fail(gone, used=True)
    return _replace(spec, stack, observed, f"{gone}: replacing it")


def _replace(spec: ClusterSpec, stack: Stack, observed: Observed, reason: str, *, repairs: bool = False) -> Step:
    """The nodes' new token must be created in Kubernetes first."""
    if observed.kubernetes is None or observed.kubernetes.unreachable:
        return _wait_for_nodes(spec, observed)
    if observed.untracked:
        return DeleteServers(observed.untracked)
    return ReplaceNodes(stack, observed.lost, reason, repairs)


def _in_progress(spec: ClusterSpec, stack: Stack, observed: Observed) -> Step:
    """Kubernetes may be ready before Heat records that; then only Heat's own records are incomplete.

    The cluster is not done while a server is incomplete: Nova may report it as failed although it runs, and Heat would
    create another one.
    """
    served = explain.servers_complete(observed.resources) >= spec.nodes
    if served and observed.key and observed.kubernetes and isinstance(_wait_for_nodes(spec, observed), Done):
        return Done()
    if observed.unchanged.stuck:
        return UpdateStack(stack, f"the stack has not changed for {observed.unchanged.seconds:.0f} s: resuming it")
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
