"""Create, resize and delete the node groups of a cluster, and delete single nodes.

Each call may be interrupted and repeated: the next one observes what was done, and does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.stacks import Stack
from moorage.clusters import drain, events, explain
from moorage.clusters.execute import READY_TIMEOUT, Desired, Executor
from moorage.clusters.kubernetes import node_name, node_of
from moorage.clusters.nodes import NodeExecutor
from moorage.clusters.observer import ConnectKube, Observer
from moorage.clusters.parameters import (
    differences,
    is_rolled_back,
    needs_revision,
    recorded_group,
    requested_removals,
    revision,
    size,
    with_surge_of,
)
from moorage.clusters.preflight.problem import error_of
from moorage.clusters.preflight.spec import spec_problems
from moorage.clusters.progress import EVERY_SECOND, PollInterval, Report, Run
from moorage.clusters.reconcile import image_id, recorded, session
from moorage.clusters.state import DesiredState, Observed, ObservedStack
from moorage.clusters.waiting import NO_KEY
from moorage.model.cluster import ClusterSpec, DrainOptions, NodeGroup
from moorage.model.errors import BadInput, Conflict, Failed, NotFound, Unreachable


@dataclass(frozen=True)
class NodeGroups:
    """The node groups of one cluster.

    Every call may raise Failed with the reason, TimedOut after `timeout` seconds, CloudUnreachable, NotFound when there
    is no such cluster or group, and Conflict.
    """

    cloud: Cloud
    connect_kube: ConnectKube
    data_folder: Path
    cluster: str
    report: Report
    timeout: float = READY_TIMEOUT + 300
    poll: PollInterval = EVERY_SECOND

    def create(self, group: NodeGroup, *, wait: bool = True) -> None:
        """Create a group, or resume its creation. Returns when its nodes are Ready.

        BadInput and QuotaExceeded before anything is created; Conflict when another group has that name.
        """
        named = replace(group, image=image_id(self.cloud, group.image)) if group.image else group
        self._execute(
            lambda observed: DesiredState(_with_new(named, self._spec(observed))),
            f"create node group {group.name}",
            f"node group {group.name} is ready",
            wait=wait,
        )

    def resize(self, name: str, count: int, options: DrainOptions, *, wait: bool = True) -> None:
        """Change the number of a group's nodes: create some, or drain and delete some.

        BadInput for a count outside the group's limits. Conflict for the last workers of a cluster, without `force`.
        """
        self._execute(
            lambda observed: DesiredState(_resized(name, count, self._spec(observed), options)),
            f"resize node group {name} to {count} nodes",
            f"node group {name} has {count} nodes",
            options,
            wait=wait,
        )

    def upgrade(self, name: str, changes: Mapping[str, Any], options: DrainOptions) -> None:
        """Give a group other values of `FIXED`, or of its surge: create nodes that have them, and drain the others.

        At most `max_surge` nodes are created at once, and as many drained when those are Ready. BadInput and
        QuotaExceeded before anything is created. Failed when a new node does not come up: the others go on running.
        """
        image = changes.get("image")
        resolved = {**changes, "image": image_id(self.cloud, image)} if image else changes
        observed = self._observe()
        spec, before = self._spec(observed), observed.group(name)
        group = replace(find(spec, name), **resolved)
        if problems := [*spec_problems(spec.with_group(group))]:
            raise error_of(problems)

        def desired(observed: Observed) -> DesiredState:
            spec, current = self._spec(observed), observed.group(name)
            group = replace(find(spec, name), **resolved)
            if current and before and _identity(current) != _identity(before):
                _check_revision(name, not needs_revision(group, recorded_group(current.stack)))
            return DesiredState(replace(spec, groups=(group,)))

        request, done = f"upgrade node group {name}: other {', '.join(changes)}", f"node group {name} is upgraded"
        self._execute(desired, request, done, options, rounds=_rounds(group))

    def rollback(self, name: str, options: DrainOptions) -> None:
        """Return to the former revision, or continue that; Conflict when an upgrade has removed its last node."""
        observed = self._observe()
        find(observed.spec, name)
        before, target = observed.group(name), self._former(name, observed)
        assert before is not None

        def desired(observed: Observed) -> DesiredState:
            spec = self._spec(observed)
            stack = next((entry.stack for entry in observed.groups if entry.stack.name == target), None)
            if stack is None:
                raise NotFound(f"the stack {target} was deleted meanwhile")
            current = observed.group(name)
            is_own = current is None or current.stack.name == target or _identity(current) == _identity(before)
            _check_revision(name, is_own)
            there = find(spec, name)
            group = replace(with_surge_of(recorded_group(stack), there), count=there.count)
            return DesiredState(replace(spec, groups=(group,)), current={name: stack.name})

        done, rounds = f"node group {name} is rolled back", _rounds(find(observed.spec, name))
        self._execute(desired, f"roll node group {name} back", done, options, rounds=rounds)

    def _former(self, name: str, observed: Observed) -> str:
        """The stack to return to: the current one if that was begun, else the one with most of the running nodes."""
        current = observed.group(name)
        if current and is_rolled_back(current.stack):
            return current.stack.name
        there = [entry.stack for entry in observed.former(name) if entry.action != "DELETE"]
        if not there:
            raise Conflict(
                f"node group {name} has no former revision: an upgrade deletes it at its end",
                "moorage nodegroup upgrade, with the former values",
            )

        def running(stack: Stack) -> tuple[int, int, int]:
            ready = sum(node.ready for node in observed.nodes_of(stack.name))
            return ready, size(stack), -revision(stack)

        return max(there, key=running).name

    def delete(self, name: str, options: DrainOptions) -> None:
        """Drain and delete all nodes of a group, then the group. Conflict as for `resize`."""
        observed = self._observe()
        if observed.group(name) is None or observed.spec.group(name) is not None:
            find(observed.spec, name)
            _check_last_workers(observed.spec, name, 0, options)
        self._execute(
            lambda observed: DesiredState(replace(self._spec(observed), groups=()), deleted=(name,)),
            f"delete node group {name}",
            f"node group {name} is deleted",
            options,
        )

    def delete_nodes(self, names: Sequence[str], options: DrainOptions) -> None:
        """Drain and delete these nodes; their groups get smaller. NotFound for a node that no group has."""
        self._remove(names, options, "deleted", shrinks=True)

    def replace_nodes(self, names: Sequence[str], options: DrainOptions) -> None:
        """Drain these nodes, then create another one for each while they are deleted. Errors of `delete_nodes`."""
        self._remove(names, options, "replaced", shrinks=False)

    def _remove(self, names: Sequence[str], options: DrainOptions, done: str, *, shrinks: bool) -> None:
        observed = self._observe()
        groups = _groups_of(names, observed)
        _check_not_upgrading(groups.values(), observed)
        if shrinks:
            _check_counts(_pending(groups, observed), observed.spec, options)

        def desired(observed: Observed) -> DesiredState:
            spec, pending = self._spec(observed), _pending(groups, observed) if shrinks else {}
            own = [group for group in spec.groups if group.name in groups.values()]
            left = tuple(replace(group, count=group.count - pending.get(group.name, 0)) for group in own)
            return DesiredState(replace(spec, groups=left), named=tuple(groups))

        listed = ", ".join(groups)
        self._execute(desired, f"{'delete' if shrinks else 'replace'} {listed}", f"{listed}: {done}", options)

    def drain_nodes(self, names: Sequence[str], timeout: float) -> None:
        """Cordon and drain these nodes; `kubectl uncordon` undoes it. Failed with what could not be evicted in time."""
        observed = self._observe()
        nodes = [*_groups_of(names, observed)]
        if not observed.key:
            raise Failed(f"nodes cannot be drained here: {NO_KEY}", "run this where the cluster was created")
        with self._session(f"drain {', '.join(nodes)}", timeout) as (observer, run):
            executor = NodeExecutor(observer, run, DrainOptions(timeout))
            while not self._drain(executor, nodes, observed.base_stack, run):
                run.wait()
            run.act("NodesDrained", self.cluster, f"{', '.join(nodes)}: drained")
            events.send(self.cloud, observed.base_stack, run)

    def _drain(self, executor: NodeExecutor, nodes: Sequence[str], base: Stack, run: Run) -> bool:
        try:
            return executor.drain_nodes(nodes, base, drain.cordon)
        except Unreachable as error:
            run.log.record(f"trying again: {error.message}")
            return False

    def _observe(self) -> Observed:
        with self._session("") as (observer, _):
            observed = observer.observe()
            self._spec(observed)
            return observed

    def _execute(
        self,
        desired: Desired,
        request: str,
        done: str,
        options: DrainOptions | None = None,
        *,
        wait: bool = True,
        rounds: int = 1,
    ) -> None:
        """`rounds` is how often nodes are drained, one after the other; each has the whole time."""
        with self._session(request, options.timeout if options else 0, rounds) as (observer, run):
            nodes = NodeExecutor(observer, run, options or DrainOptions())
            Executor(observer, run, desired, nodes, done).execute(wait=wait)

    def _session(
        self, request: str, drain_timeout: float = 0, rounds: int = 1
    ) -> AbstractContextManager[tuple[Observer, Run]]:
        """The time for draining nodes comes on top of the run's."""
        arguments = (self.cloud, self.connect_kube, self.data_folder, self.cluster, self.report)
        return session(*arguments, rounds * (self.timeout + drain_timeout), self.poll, request)

    def _spec(self, observed: Observed) -> ClusterSpec:
        return recorded(self.cluster, observed)


def _rounds(group: NodeGroup) -> int:
    """How often nodes are added and removed until all of a group are upgraded."""
    return max(-(-group.count // max(group.max_surge + group.max_unavailable, 1)), 1)


def _identity(entry: ObservedStack) -> tuple[str, int]:
    """A stack as a revision: it may become the current one again."""
    return entry.stack.name, revision(entry.stack)


def _check_revision(name: str, is_own: bool) -> None:
    if not is_own:
        raise Conflict(
            f"another upgrade of node group {name} has begun meanwhile",
            "moorage cluster events shows it; run this again to change the group after all",
        )


def _with_new(group: NodeGroup, there: ClusterSpec) -> ClusterSpec:
    spec = replace(there, groups=(group,))
    if different := differences(spec, there):
        raise Conflict(
            f"a different node group {group.name!r} exists: {'; '.join(different)}",
            "choose another name; to change the number of nodes: moorage nodegroup resize",
        )
    other = there.group(group.name)
    return replace(spec, groups=(with_surge_of(group, other),)) if other else spec


def _resized(name: str, count: int, there: ClusterSpec, options: DrainOptions) -> ClusterSpec:
    group = find(there, name)
    if not group.min_count <= count <= group.max_count:
        limits = f"{group.min_count} to {group.max_count}"
        raise BadInput(f"{count} nodes: node group {name} has the limits {limits}", "choose a number between them")
    _check_last_workers(there, name, count, options)
    return replace(there, groups=(replace(group, count=count),))


def _check_last_workers(there: ClusterSpec, name: str, count: int, options: DrainOptions) -> None:
    workers = sum(group.count for group in there.groups)
    others = sum(group.count for group in there.groups if group.name != name)
    if workers and not count + others and not options.force:
        raise Conflict(
            f"node group {name} has the last workers of cluster {there.name!r}: its pods would have no node to run on",
            "create another group first, or use --force",
        )


def _check_not_upgrading(groups: Iterable[str], observed: Observed) -> None:
    for name in groups:
        if observed.is_upgrading(name):
            raise Conflict(
                f"node group {name} is being upgraded, which replaces its nodes",
                f"moorage cluster repair {observed.base_stack.name} continues the upgrade",
            )


def _check_counts(pending: Mapping[str, int], there: ClusterSpec, options: DrainOptions) -> None:
    """Reject numbers outside of the groups' limits before anything is changed."""
    for name, number in pending.items():
        smaller = _resized(name, find(there, name).count - number, there, options)
        there = there.with_group(smaller.groups[0])


def _pending(groups: Mapping[str, str], observed: Observed) -> Counter[str]:
    """How many of these nodes each group still has, and was not yet requested to remove."""
    there, requested = _members(observed), _requested(observed)
    return Counter(group for name, group in groups.items() if name in there and name not in requested)


def _groups_of(names: Sequence[str], observed: Observed) -> dict[str, str]:
    """The group of each of these nodes, those included that an earlier run requested to remove."""
    members = {**_requested(observed), **_members(observed)}
    for name in names:
        if observed.group(members.get(name, "")) is None:
            there = ", ".join(sorted(node for node, group in members.items() if observed.group(group))) or "none"
            raise NotFound(f"no node group has a node {name!r}", f"there are: {there}")
    return {name: members[name] for name in names}


def _requested(observed: Observed) -> dict[str, str]:
    """The group of each node that Heat was requested to remove."""
    return {name: entry.group for entry in observed.groups for name in requested_removals(entry.stack)}


def _members(observed: Observed) -> dict[str, str]:
    """The group of each node that exists, or of which the server is lost."""
    found = {}
    for server in observed.servers:
        node = node_of(server, observed.nodes)
        found[node.name if node else node_name(server)] = server.metadata.get("moorage_group", "")
    for entry in observed.groups:
        lost = (explain.node_name(resource, entry.stack.name) for resource in entry.lost)
        found |= {name: entry.group for name in lost}
    return found


def find(spec: ClusterSpec, name: str) -> NodeGroup:
    """The group of that name; NotFound names those that there are."""
    group = spec.group(name)
    if group is None:
        there = ", ".join(each.name for each in spec.groups) or "none"
        raise NotFound(f"cluster {spec.name!r} has no node group {name!r}", f"there are: {there}")
    return group
