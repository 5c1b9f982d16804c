"""Delete a cluster: one ordered list of kinds, each listed, deleted, and waited for until none is left.

The list is walked from the top until a whole pass finds nothing. A run can be interrupted anywhere; the next one walks
the list again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.stacks import Stack
from moorage.clusters.deletion import infrastructure, observe
from moorage.clusters.deletion.actions import execute
from moorage.clusters.deletion.load_balancers import plan_load_balancers
from moorage.clusters.deletion.resources import CleanupPlan, Deletion, combine
from moorage.clusters.deletion.storage import plan_retention, plan_storage
from moorage.clusters.observer import missing_from
from moorage.clusters.parameters import base_tag, groups_tag
from moorage.clusters.progress import Run
from moorage.model.cluster import OwnedResource
from moorage.model.errors import BadInput, Conflict, Failed, NotFound

REQUEST_AGAIN = 20.0
"""Seconds after which a deletion is requested again: a service that died may have lost the request."""
Kind = Callable[[], CleanupPlan]
UNANSWERED = CleanupPlan(waiting=("the cloud does not answer",))


@dataclass
class ClusterDeletion:
    """The deletion of one cluster, or of what is left of it; `keep` keeps all volumes and snapshots.

    `stack` is the cluster's base stack, None when Heat has none: one of that name with another id is another cluster's.
    `kept` are all resources that are kept, by id, each as it was first seen: a resource that is marked as kept no
    longer has its original reason.
    """

    cloud: Cloud
    cluster: str
    stack: Stack | None
    run: Run
    keep: bool = False
    kept: dict[str, OwnedResource] = field(default_factory=dict)
    _requests: Counter[str] = field(default_factory=Counter)
    _requested_at: dict[str, float] = field(default_factory=dict)

    @property
    def infrastructure(self) -> Sequence[Kind]:
        """All but what holds users' data. The credential is the cluster's as long as its stack has the name."""
        return (
            self._stop,
            self._servers,
            self._load_balancers,
            self._ports,
            self._credentials,
            self._stacks,
            self._network,
        )

    @property
    def kinds(self) -> Sequence[Kind]:
        """All, in their order. What is kept is marked before anything is deleted."""
        return (self._retention, *self.infrastructure, self._storage)

    def preview(self) -> Sequence[CleanupPlan]:
        """A plan for each of `kinds`: what the cluster owns, and what would be deleted and kept of that."""
        return observe.at_once(self.kinds)

    def check(self, preview: Sequence[CleanupPlan]) -> None:
        """Failed when something is not the cluster's alone, before anything is touched."""
        shared = (self._load_balancers, self._ports)
        blocked = combine(plan for kind, plan in zip(self.kinds, preview, strict=True) if kind in shared).blocked
        self._note_kept(combine(preview))
        if blocked:
            raise self._failed(blocked)

    def delete(self, kinds: Sequence[Kind], *, wait: bool = True) -> None:
        """Delete all of these kinds; without `wait`, until Heat has accepted the deletion of all stacks.

        Raises Failed when something cannot be deleted, Conflict when another cluster of that name appears, TimedOut,
        CloudUnreachable.
        """
        while self._walk(kinds, wait):
            self.run.log.record("checking that nothing remains")
            left = self.run.ask(lambda: combine(observe.at_once(kinds)))
            if left and left.done:
                return

    def _walk(self, kinds: Sequence[Kind], wait: bool) -> bool:
        """Delete kind after kind; False when the rest is not waited for."""
        for kind in kinds:
            while not (plan := self._plan(kind)).done:
                if not wait and kind == self._stacks and not plan.deletions:
                    return False
                self._step(plan)
        return True

    def _plan(self, kind: Kind) -> CleanupPlan:
        plan = self.run.ask(kind) or UNANSWERED
        self._note_kept(plan)
        return plan

    def _step(self, plan: CleanupPlan) -> None:
        if plan.deletions:
            requested = self.run.ask(partial(self._execute, plan.deletions))
            self.run.wait(self.run.log.poll.after_request if requested else 0)
        elif plan.waiting:
            if plan is not UNANSWERED:
                more = len(plan.waiting) - 1
                self.run.log.record(plan.waiting[0] + (f" (and {more} more)" if more else ""))
            self.run.wait()
        else:
            raise self._failed(plan.blocked)

    def _execute(self, deletions: Iterable[Deletion]) -> bool:
        """Send the requests; whether all were accepted. A rejected one is planned again."""
        current = self.cloud.stacks.get(self.cluster)
        if current is not None and (self.stack is None or current.id != self.stack.id):
            raise Conflict(
                f"another cluster {self.cluster!r} was created meanwhile",
                f"moorage cluster show {self.cluster}; to delete that one, run the command again",
            )
        return all([self._request(deletion) for deletion in deletions])

    def _request(self, deletion: Deletion) -> bool:
        self.run.log.record(deletion.text)
        problem = ""
        try:
            execute(self.cloud, deletion)
        except NotFound:
            return True  # deleted meanwhile
        except (Conflict, BadInput) as error:
            problem = error.message
            self.run.log.record(f"{deletion.text}: {problem}")
        self.run.progress.restart(deletion.id, self.run.log.poll.now())
        self._requests[deletion.id] += 1
        self._requested_at[deletion.id] = self.run.log.poll.now()
        return not problem

    def _note_kept(self, plan: CleanupPlan) -> None:
        for resource in plan.kept:
            if resource.id not in self.kept:
                self.run.log.record(f"keeping {resource}")
        self.kept = {resource.id: resource for resource in plan.kept} | self.kept

    def _failed(self, blocked: Iterable[str]) -> Failed:
        return Failed(
            f"cluster {self.cluster!r} could not be deleted: {'; '.join(blocked)}",
            "remove what blocks it, then delete it again",
        )

    def _retention(self) -> CleanupPlan:
        found = observe.stored(self.cloud, self.cluster, self.cloud.servers.list(self.cluster))
        return plan_retention(found, self.keep, self._requests)

    def _stop(self) -> CleanupPlan:
        return combine(infrastructure.plan_stop(stack) for stack in self._current_stacks())

    def _current_stacks(self) -> list[Stack]:
        """Those of node groups, and the base stack. Without a base stack, all that are left of the name's."""
        base = self.cloud.stacks.get(self.stack.id) if self.stack else None
        listed = self.cloud.stacks.list(groups_tag(self.cluster))
        groups = [stack for stack in listed if self.stack is None or base_tag(self.stack) in stack.tags]
        return [*groups, base] if base else groups

    def _servers(self) -> CleanupPlan:
        now = self.run.log.poll.now()
        recent = {id for id, requested in self._requested_at.items() if now - requested < REQUEST_AGAIN}
        resources = [it for stack in self._current_stacks() for it in self.cloud.stacks.resources(stack)]
        servers = self.cloud.servers.list(self.cluster)
        servers += missing_from(self.cloud, servers, resources)
        return infrastructure.plan_servers(servers, recent)

    def _load_balancers(self) -> CleanupPlan:
        return plan_load_balancers(observe.balanced(self.cloud, self.cluster), self._requests)

    def _ports(self) -> CleanupPlan:
        found = observe.ports(self.cloud, self.cluster)
        return infrastructure.plan_ports(self.cluster, found, observe.foreign_servers(self.cloud, self.cluster, found))

    def _credentials(self) -> CleanupPlan:
        credentials = self.cloud.identity.credentials(self.cluster)
        return infrastructure.plan_credentials(self.cluster, credentials, self._requests)

    def _stacks(self) -> CleanupPlan:
        return combine(self._plan_stack(stack) for stack in self._current_stacks())

    def _plan_stack(self, stack: Stack) -> CleanupPlan:
        resources = self.cloud.stacks.resources(stack)
        unchanged = self.run.progress.update(stack, resources, self.run.log.poll.now())
        return infrastructure.plan_stack(stack, resources, unchanged, self._requests)

    def _network(self) -> CleanupPlan:
        return infrastructure.plan_network(self.cloud.network.owned(self.cluster))

    def _storage(self) -> CleanupPlan:
        found = observe.stored(self.cloud, self.cluster, self.cloud.servers.list(self.cluster))
        return plan_storage(found, self.keep, self._requests)
