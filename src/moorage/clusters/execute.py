"""Make a cluster what its spec says: observe, plan, execute one step, until the plan is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.stacks import Stack
from moorage.clusters import events, keys, kubernetes, steps
from moorage.clusters.deletion.run import ClusterDeletion
from moorage.clusters.nodes import NodeExecutor
from moorage.clusters.observer import Observer
from moorage.clusters.parameters import (
    base_request,
    first_join_token,
    group_request,
    group_stack_name,
    groups_tag,
    needs_revision,
)
from moorage.clusters.plan import plan_cluster
from moorage.clusters.preflight.check import check, check_added
from moorage.clusters.progress import REQUESTED, Run
from moorage.clusters.state import DesiredState, Observed, ObservedStack
from moorage.model.cluster import ClusterSpec, NodeGroup
from moorage.model.credential import Credential
from moorage.model.errors import CloudUnreachable, Conflict, Failed, TimedOut, Unreachable

READY_TIMEOUT = 600  # seconds that a node has to become Ready
Desired = Callable[[Observed], DesiredState]
"""The state to reach, for what is observed. Raises what a verb rejects, such as Conflict for another cluster."""


@dataclass
class Executor:
    """One run that makes a cluster what `desired` says."""

    observer: Observer
    run: Run
    desired: Desired
    nodes: NodeExecutor
    done: str = ""
    """The last event's text; the default is that the cluster is ready."""
    _requests: int = 0
    """Requests for a base stack."""
    _base: ObservedStack | None = None
    """The base stack when it was last observed."""
    _checked: ClusterSpec | None = None
    _credential: Credential | None = None

    @property
    def cloud(self) -> Cloud:
        return self.observer.cloud

    @property
    def name(self) -> str:
        return self.observer.name

    def execute(self, *, wait: bool = True) -> None:
        """Without `wait`, return when Heat has accepted all changes.

        Raises Failed with the reason, TimedOut, BadInput and QuotaExceeded before a stack is created, CloudUnreachable,
        and the errors of `desired`.
        """
        try:
            while not self.step(wait=wait):
                self.run.wait()
        except (Failed, TimedOut) as error:
            self.run.act("Failed", self.name, f"{error.message}; {error.hint}", warning=True)
            raise
        finally:
            self._send_events()

    def step(self, *, wait: bool = True) -> bool:
        """Observe, plan, execute one step; whether the run is done. Errors as `execute`.

        Runs may take turns, in any process: what was done is observed, and attempts are counted by events.
        """
        observed = self.run.ask(self._observe)
        if observed is None:
            return False
        self._base = observed.base
        desired = self.desired(observed)
        planned = plan_cluster(desired, observed, self._attempts(observed))
        done = self._execute(planned, desired.spec, observed, wait)
        self._send_events()
        return done

    def _attempts(self, observed: Observed) -> steps.Attempts:
        """Read only when something failed."""
        if observed.base is None or not any(
            it.state == "FAILED" or it.lost for it in (observed.base, *observed.groups)
        ):
            return steps.Attempts()
        return events.attempts(self.cloud, observed.base.stack, self.run)

    def _send_events(self) -> None:
        """Not while Heat creates the base stack: every signal makes its engine read the whole stack."""
        if self._base is not None and self._base.state != "IN_PROGRESS":
            events.send(self.cloud, self._base.stack, self.run)

    def _observe(self) -> Observed:
        observed = self.observer.observe()
        base = observed.base and self._measure(observed.base)
        return replace(observed, base=base, groups=[self._measure(group) for group in observed.groups])

    def _measure(self, entry: ObservedStack) -> ObservedStack:
        now = self.run.log.poll.now()
        return replace(entry, unchanged=self.run.progress.update(entry.stack, entry.resources, now))

    def _execute(self, step: steps.Step, spec: ClusterSpec, observed: Observed, wait: bool) -> bool:
        """Execute one step; True when the run is done."""
        match step:
            case steps.Fail():
                upgrading = [name for name in (group.name for group in spec.groups) if observed.former(name)]
                failed = [name for name in upgrading if (it := observed.group(name)) and it.state == "FAILED"]
                raise _failed(self.name, step, failed)
            case steps.Done():
                self._finish(step)
                return True
            case steps.Wait():
                self.run.log.record(step.reason)
                return not wait and _is_requested(spec, observed)
            case steps.CreateBase():
                self._create_base(spec, 1)
            case steps.CreateGroup():
                self._create_group(step, spec, observed)
            case _:
                self._change(step, spec, observed)
        return False

    def _finish(self, step: steps.Done) -> None:
        text = (self.done or f"cluster {self.name} is ready") + (f": {step.note}" if step.note else "")
        if self.run.events:
            self.run.act("Completed", self.name, text)
        else:
            self.run.log.record(text)

    def _change(self, step: steps.Repair | steps.NodeStep, spec: ClusterSpec, observed: Observed) -> None:
        """An unreachable service or another request in progress: the next observation decides again."""
        try:
            match step:
                case steps.DeleteInfrastructure():
                    self._delete_infrastructure(step)
                    self._create_base(spec, step.creation)
                case steps.DeleteStack():
                    self.run.act(events.DELETED_AGAIN, step.stack.name, step.reason, warning=True)
                    self.cloud.stacks.delete(step.stack)
                    self._restart(step.stack)
                case steps.UpdateStack():
                    self._update_stack(step)
                case _:
                    if isinstance(step, steps.AddNodes):
                        self._complete_group(step.group, spec, observed)
                    self.nodes.execute(step, observed.base_stack)
        except (Unreachable, Conflict) as error:
            self.run.log.record(f"trying again: {error.message}")

    def _create_base(self, spec: ClusterSpec, creation: int) -> None:
        """Check the spec, create the key if needed, request the stack."""
        complete = self._complete(spec)
        key = self.observer.keys.get_or_create(self.name)
        self._requests += 1
        try:
            credential = self._get_credential(complete)
            self.run.log.record("requesting a network and a control plane from Heat")
            token = first_join_token(key, self.name)
            ca, signing_request = self.cloud.identity.ca_certificates(), keys.signing_request(key)
            request = base_request(complete, signing_request, token, READY_TIMEOUT, credential, creation, ca)
            self.run.act(REQUESTED, self.name)
            self.cloud.stacks.create(request)
        except Conflict:
            return  # another run was faster: the next observation shows its stack
        except CloudUnreachable as error:
            if self._requests >= steps.MAX_ATTEMPTS:
                raise
            self.run.log.record(f"requesting the stack again: {error.message}")

    def _get_credential(self, spec: ClusterSpec) -> Credential | None:
        """The application credential of the new stack."""
        if spec.cloud_provider and self._credential is None:
            self._credential = self.cloud.identity.create_credential(self.name)
        return self._credential

    def _complete(self, spec: ClusterSpec) -> ClusterSpec:
        """The spec with what it left open; checked once in a run."""
        if self._checked is None:
            self.run.log.record("checking names, flavors, image, addresses and quotas")
            self._checked = check(self.cloud, spec)
        return self._checked

    def _create_group(self, step: steps.CreateGroup, spec: ClusterSpec, observed: Observed) -> None:
        group = step.group
        try:
            group = self._complete_group(group, spec, observed, step.size)
            base = self._base_with_outputs(observed)
            if base is None or (token := self.nodes.join_token(base, new=step.new_token)) is None:
                return
            request = group_request(base, group, token, READY_TIMEOUT, step.revision, step.size)
            self._record_group(request.name, group, observed)
            self.run.log.record(f"requesting {request.name} with {request.parameters['count']} nodes from Heat")
            self.run.act(REQUESTED, request.name)
            self.cloud.stacks.create(request)
        except Conflict as error:
            self._check_taken_name(group_stack_name(self.name, group.name, step.revision), error)
        except Unreachable as error:
            self.run.log.record(f"requesting node group {group.name} again: {error.message}")

    def _record_group(self, stack: str, group: NodeGroup, observed: Observed) -> None:
        """Before its nodes join: their labels and taints are kept from then on."""
        if not (group.labels or group.taints):
            return
        if observed.reachable and observed.kubernetes and (kube := self.observer.kube(observed.base_stack)):
            kubernetes.record_groups(kube, {**observed.kubernetes.groups, stack: kubernetes.group_record(group)})

    def _complete_group(
        self, group: NodeGroup, spec: ClusterSpec, observed: Observed, created: int | None = None
    ) -> NodeGroup:
        """The group with what it left open; checked once in a run. A new revision begins with the `created` nodes."""
        if self._checked is None:
            whole, added = observed.spec, {}
            for each in spec.groups:
                there = whole.group(each.name)
                if there is None:
                    added[each.name] = each.count
                elif needs_revision(each, there):
                    added[each.name] = created or 0
                elif each.count > there.count:
                    added[each.name] = each.count - there.count
                whole = whole.with_group(each)
            self._checked = check_added(self.cloud, whole, added)
        found = self._checked.group(group.name)
        assert found is not None
        return found

    def _base_with_outputs(self, observed: Observed) -> Stack | None:
        """None until it has the outputs that node groups need."""
        base = observed.base and self.cloud.stacks.get(observed.base.stack.id, outputs=True)
        return base if base and base.outputs.get("node_group") else None

    def _check_taken_name(self, name: str, error: Conflict) -> None:
        """A node group that another run created, or one of a deleted cluster, is observed next; others are not ours."""
        found = self.cloud.stacks.get(name)
        if found is not None and groups_tag(self.name) not in found.tags:
            text = f"the Heat stack {name!r} exists and is not this cluster's"
            raise Conflict(text, "choose another name; moorage does not change that stack") from error

    def _delete_infrastructure(self, step: steps.DeleteInfrastructure) -> None:
        """Its credential is revoked too; the next stack gets another one."""
        self.run.act("ClusterRecreated", self.name, step.reason, warning=True)
        self.run.failure = step.reason
        self._credential, self._base = None, None
        deletion = ClusterDeletion(self.cloud, self.name, step.stack, self.run)
        deletion.delete(deletion.infrastructure)

    def _update_stack(self, step: steps.UpdateStack) -> None:
        reason = events.RETRIED if step.repairs else "StackResumed"
        self.run.act(reason, step.stack.name, step.reason, warning=True)
        self.cloud.stacks.update(step.stack, {})
        self._restart(step.stack)

    def _restart(self, stack: Stack) -> None:
        """Heat has a new request for the stack, and as long for it as for the first one."""
        self.run.progress.restart(stack.id, self.run.log.poll.now())


def _is_requested(spec: ClusterSpec, observed: Observed) -> bool:
    """Whether Heat has all node groups with their counts."""
    there = observed.spec
    found = ((group, there.group(group.name)) for group in spec.groups)
    return all(other and other.count == group.count and not needs_revision(group, other) for group, other in found)


def _failed(name: str, step: steps.Fail, upgrading: Sequence[str]) -> Failed:
    if step.used and upgrading:
        return Failed(
            f"cluster {name!r} exists, but this failed: {step.reason}",
            "the former nodes go on running. Correct the cause with another moorage nodegroup upgrade, or return:"
            f" moorage nodegroup rollback {name} {upgrading[0]}",
        )
    if step.used:
        return Failed(
            f"cluster {name!r} exists, but this failed: {step.reason}",
            "fix the cause, then run this command again; what runs in the cluster keeps running."
            f" To give it up: moorage cluster delete {name}, then create it again",
        )
    return Failed(
        f"cluster {name!r} could not be created: {step.reason}",
        f"moorage cluster delete {name}, fix the cause, then create it again",
    )
