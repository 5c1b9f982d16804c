"""What comes next in a cluster's life. Pure: from what is wanted and what was observed to one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from moorage.cloud.port import Server, Stack, StackResource
from moorage.clusters import explain
from moorage.clusters.belongings.things import Act, Clearance, Clearing
from moorage.clusters.parameters import differences
from moorage.kube.port import KubeNode
from moorage.model.cluster import ClusterSpec

ATTEMPTS = 3  # how often a stack is made, or its deletion asked for, before we give up
STILL, STILL_AFTER_SILENCE = 300.0, 20.0
"""Seconds without a change after which Heat is asked to go on: always, and when it did not answer in between. An engine
that died forgets what it was at; one that lives and waits would rather not be disturbed."""
LOST = 5.0
"""Seconds that a network without servers may take to go before something must be on it that Heat does not know of."""


@dataclass(frozen=True)
class Kubernetes:
    """What the cluster's own API said; `away` is why it could not be asked, or empty, `trouble` why the cluster cannot
    ask its cloud."""

    nodes: Sequence[KubeNode] = ()
    dns: bool = False
    away: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Observed:
    """One look at everything. `key` says whether this machine has the client's key for this very stack;
    `kubernetes` is None while there is no reason, or no way, to ask; `still` is for how many seconds Heat has shown
    the same picture, `silent` whether it did not answer meanwhile; `clearance` is what the cluster made by itself and
    what of it is to go, which matters only to a deletion; `servers` are Nova's of a complete stack, `lost` those of it
    that Nova does not know any more, `unknown` those of Nova that Heat does not know, in the place of such as it could
    not make."""

    stack: Stack | None
    resources: Sequence[StackResource] = ()
    key: bool = False
    kubernetes: Kubernetes | None = None
    still: float = 0.0
    silent: bool = False
    clearance: Clearance = field(default_factory=Clearance)
    servers: Sequence[Server] = ()
    lost: Sequence[StackResource] = ()
    unknown: Sequence[Server] = ()

    @property
    def nothing(self) -> bool:
        """Whether there is no trace of the cluster but what it is to leave."""
        return self.stack is None and not self.key and self.clearance.done

    @property
    def stuck(self) -> bool:
        return self.still >= (STILL_AFTER_SILENCE if self.silent else STILL)


@dataclass(frozen=True)
class CreateStack:
    """Make the client's private key if this machine has none, and ask Heat for the stack."""


@dataclass(frozen=True)
class DeleteStack:
    """Ask Heat to delete the stack; `why` is for the person who watches. What Heat does not know of goes first where
    there may be such things: `free`, and what has failed."""

    stack: Stack
    why: str
    free: bool = False


@dataclass(frozen=True)
class Clear:
    """Take away what the cluster made by itself; with no acts, wait for what was asked for."""

    acts: Sequence[Act]
    waits: Sequence[str]


@dataclass(frozen=True)
class Free:
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
class Replace:
    """Have Heat recreate the nodes to which these servers belonged; they join with a token of their own."""

    stack: Stack
    servers: Sequence[StackResource]
    why: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do but to look again soon."""

    why: str


@dataclass(frozen=True)
class Refuse:
    """The name is taken by a cluster that was asked for differently."""

    differences: Sequence[str]


@dataclass(frozen=True)
class Fail:
    """It did not work, and trying again would not help; `used` is whether the cluster was well before."""

    reason: str
    used: bool = False


@dataclass(frozen=True)
class ForgetKey:
    """The stack is gone: prove that nothing else is left, and drop the key."""


@dataclass(frozen=True)
class Done:
    """Observed is wanted; `note` says what could not be checked."""

    note: str = ""


Step = CreateStack | DeleteStack | Clear | Free | ResumeStack | Replace | Wait | Refuse | Fail | ForgetKey | Done


@dataclass(frozen=True)
class Tried:
    """How often this run did what may not be done forever."""

    creations: int = 0
    deletions: int = 0
    resumptions: int = 0
    replacements: int = 0


def to_create(spec: ClusterSpec, observed: Observed, tried: Tried) -> Step:
    """The next step to a cluster that is made and well."""
    stack = observed.stack
    if stack is None:
        return CreateStack()
    action, _, state = stack.status.partition("_")
    if action == "DELETE":
        return _former(stack, observed, tried)
    if different := differences(spec, stack):
        return Refuse(different)
    if observed.unknown and tried.creations:
        return _without_unknown(stack, observed, tried)
    if state == "IN_PROGRESS":
        return _under_way(spec, stack, observed)
    if state == "FAILED":
        return _failed(stack, observed, tried)
    if observed.key and observed.lost:
        return _incomplete(spec, stack, observed, tried)
    return _settled(spec, observed)


def _former(stack: Stack, observed: Observed, tried: Tried) -> Step:
    """The name's former stack is on its way out."""
    if stack.status == "DELETE_FAILED":
        return to_delete(observed, tried)
    step = _going(observed)
    return (
        replace(step, why=f"the former {stack.name} is being deleted: {step.why}") if isinstance(step, Wait) else step
    )


def _without_unknown(stack: Stack, observed: Observed, tried: Tried) -> Step:
    """Heat died before it had noted what it made, and cannot make it once more as long as that is there.

    What this very run asked for, and has not called made, nobody uses. Elsewhere Heat may be at replacing such servers.
    """
    told = f"Heat does not know that it made {', '.join(server.name for server in observed.unknown)}"
    return Fail(told) if tried.creations >= ATTEMPTS else DeleteStack(stack, f"{told}: recreating all of it", free=True)


def _failed(stack: Stack, observed: Observed, tried: Tried) -> Step:
    reason = explain.failure(stack, observed.resources)
    if tried.resumptions < ATTEMPTS and (attached := explain.attached(observed.resources)):
        return ResumeStack(stack, "detaching a subnet that Heat does not know that it attached to its router", attached)
    if tried.resumptions < ATTEMPTS and explain.interrupted(reason):
        if observed.still < STILL_AFTER_SILENCE:
            return Wait("Heat broke off; it may go on by itself")
        return ResumeStack(stack, "Heat broke off: asking it to go on")
    if explain.control_plane_was_ready(observed.resources):
        return _broken(stack, reason, tried)
    if tried.creations >= ATTEMPTS:
        return Fail(reason)
    if explain.passing(f"{stack.reason} {reason}"):
        return DeleteStack(stack, f"a service was away for a moment ({reason}): recreating it")
    if tried.resumptions:  # Heat stumbled over what it had half done before
        return DeleteStack(stack, f"Heat could not go on ({reason}): recreating it")
    return Fail(reason)


def _broken(stack: Stack, reason: str, tried: Tried) -> Step:
    """People may have put something into this cluster: it is mended or left as it is, and never recreated."""
    passing = explain.passing(f"{stack.reason} {reason}") and tried.resumptions < ATTEMPTS
    if passing or (stack.status == "UPDATE_FAILED" and not tried.resumptions):
        return ResumeStack(stack, f"asking Heat to try again what failed ({reason})")
    return Fail(reason, used=stack.status == "UPDATE_FAILED")


def _incomplete(spec: ClusterSpec, stack: Stack, observed: Observed, tried: Tried) -> Step:
    """Servers are gone that nobody asked Heat to delete."""
    gone = explain.gone(observed.lost, stack.name)
    if explain.with_control_plane(observed.lost):
        return Fail(gone)
    if tried.replacements >= ATTEMPTS:
        return Fail(gone, used=True)
    if observed.kubernetes is None or observed.kubernetes.away:
        return _settled(spec, observed)
    return Replace(stack, observed.lost, f"{gone}: having Heat recreate that")


def _under_way(spec: ClusterSpec, stack: Stack, observed: Observed) -> Step:
    """Kubernetes may be well before Heat has noticed: what is left then is Heat's own bookkeeping.

    Not so while a server is not complete: Nova may call it failed although it runs, and Heat make another.
    """
    served = explain.servers_complete(observed.resources) >= spec.nodes
    if served and observed.key and observed.kubernetes and isinstance(_settled(spec, observed), Done):
        return Done()
    if observed.stuck:
        return ResumeStack(stack, f"Heat has shown no change for {observed.still:.0f} s: asking it to go on")
    return Wait(explain.waiting(observed.resources, spec.nodes))


def _settled(spec: ClusterSpec, observed: Observed) -> Step:
    if not observed.key:
        return Done("the stack is complete; the private key is on another machine, so Kubernetes was not asked")
    asked = observed.kubernetes
    if asked is None or asked.away:
        return Wait(f"waiting for the Kubernetes API: {asked.away if asked else 'not asked yet'}")
    if asked.trouble:
        return Wait(f"the cluster cannot ask its cloud: {asked.trouble}")
    missing = [f"{node.name}: {node.reason}" for node in asked.nodes if not node.ready]
    if len(asked.nodes) < spec.nodes or missing:
        ready = sum(node.ready for node in asked.nodes)
        return Wait(f"waiting for nodes: {ready} of {spec.nodes} Ready" + "".join(f"; {text}" for text in missing[:1]))
    return Done() if asked.dns else Wait("waiting for CoreDNS, by which pods find Services")


def to_delete(observed: Observed, tried: Tried) -> Step:
    """The next step to nothing left: what stands in the cluster's network, the stack, what its servers had."""
    stack, storage = observed.stack, observed.clearance.storage
    for first in (observed.clearance.keeping, observed.clearance.network):
        if first.stuck:
            return Fail("; ".join(first.stuck))
        if not first.done:
            return Clear(first.acts, first.waits)
    if stack is None:
        return _stackless(storage)
    if stack.status == "DELETE_IN_PROGRESS":
        if observed.stuck:
            return DeleteStack(stack, f"Heat has shown no change for {observed.still:.0f} s: asking it again")
        if storage.acts:
            return Clear(storage.acts, ())
        return _going(observed)
    if stack.status == "DELETE_FAILED":
        reason = explain.failure(stack, observed.resources)
        if tried.deletions >= ATTEMPTS and not explain.passing(f"{stack.reason} {reason}"):
            return Fail(reason)
        return DeleteStack(stack, f"deletion failed ({reason}): asking again")
    return DeleteStack(stack, "deleting servers, addresses and network")


def _going(observed: Observed) -> Wait | Free:
    """Heat is at it, and should not take long once no server is left."""
    held = explain.held(observed.resources)
    if observed.still < LOST or any(resource.type == explain.SERVER for resource in held):
        return Wait(explain.removing(observed.resources))
    return Free([resource.physical_id for resource in held])


def _stackless(storage: Clearing) -> Step:
    """Heat has nothing left. What cannot be deleted is told once all else is gone."""
    if storage.acts or storage.waits:
        return Clear(storage.acts, storage.waits)
    return Fail("; ".join(storage.stuck)) if storage.stuck else ForgetKey()
