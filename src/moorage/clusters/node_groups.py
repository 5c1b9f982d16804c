"""Create, resize and delete the node groups of a cluster, and delete single nodes.

Each call may be interrupted and repeated: the next one observes what was done, and does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from moorage.cloud.port.cloud import Cloud
from moorage.clusters import drain
from moorage.clusters.execute import READY_TIMEOUT, Desired, Executor
from moorage.clusters.kubernetes import node_of
from moorage.clusters.nodes import DrainOptions, NodeExecutor
from moorage.clusters.observer import ConnectKube, Observer
from moorage.clusters.parameters import differences, requested_removals
from moorage.clusters.progress import EVERY_SECOND, PollInterval, Report, Run
from moorage.clusters.reconcile import recorded, session
from moorage.clusters.state import Observed
from moorage.kube.port import KubernetesClient
from moorage.model.cluster import ClusterSpec, NodeGroup
from moorage.model.errors import BadInput, Conflict, NotFound


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
        match = self.cloud.images.find(group.image) if group.image else None
        named = replace(group, image=match.id) if match else group
        self._execute(
            lambda observed: _with_new(named, self._spec(observed)), f"node group {group.name} is ready", wait=wait
        )

    def resize(self, name: str, count: int, options: DrainOptions, *, wait: bool = True) -> None:
        """Change the number of a group's nodes: create some, or drain and delete some.

        BadInput for a count outside the group's limits. Conflict for the last workers of a cluster, without `force`.
        """
        done = f"node group {name} has {count} nodes"
        self._execute(lambda observed: _resized(name, count, self._spec(observed), options), done, options, wait=wait)

    def delete(self, name: str, options: DrainOptions) -> None:
        """Drain and delete all nodes of a group, then the group. Conflict as for `resize`."""
        observed = self._observe()
        if observed.group(name) is None or observed.spec.group(name) is not None:
            find(observed.spec, name)
            _check_last_workers(observed.spec, name, 0, options)
        done = f"node group {name} is deleted"
        self._execute(lambda observed: replace(self._spec(observed), groups=()), done, options, deleted=(name,))

    def delete_nodes(self, names: Sequence[str], options: DrainOptions) -> None:
        """Drain and delete these nodes; their groups get smaller. NotFound for a node that no group has."""
        observed = self._observe()
        groups, left = _groups_of(names, observed), observed.spec
        for name in names:
            stack, group = observed.group(groups[name]), find(left, groups[name])
            if stack and name not in requested_removals(stack.stack):
                left = left.with_group(_resized(group.name, group.count - 1, left, options).groups[0])
        self._mark(names, drain.begin)
        for name in sorted({*groups.values()}):
            self.resize(name, find(left, name).count, options)

    def replace_nodes(self, names: Sequence[str], options: DrainOptions) -> None:
        """Add a node for each of these, then drain and delete these. Errors of `delete_nodes`.

        Limits of the groups do not count meanwhile.
        """
        observed = self._observe()
        groups = _groups_of(names, observed)
        counts = {group: _final_count(group, names, observed) for group in groups.values()}
        self._mark(names, lambda kube, name: drain.mark_replaced(kube, name, counts[groups[name]]))
        for group, count in counts.items():
            own = [name for name in names if groups[name] == group]
            self._set_count(group, count + len(own), DrainOptions())
            self._mark(own, drain.begin)
            self._set_count(group, count, options)

    def drain_nodes(self, names: Sequence[str], options: DrainOptions) -> None:
        """Cordon and drain these nodes; `kubectl uncordon` undoes it. Failed with what could not be evicted."""
        observed = self._observe()
        _groups_of(names, observed)
        with self._session() as (observer, run):
            nodes = NodeExecutor(observer, run, options)
            while not nodes.drain_nodes(names, observed.base_stack, drain.cordon):
                run.wait()

    def _observe(self) -> Observed:
        with self._session() as (observer, _):
            observed = observer.observe()
            self._spec(observed)
            return observed

    def _mark(self, names: Sequence[str], mark: Callable[[KubernetesClient, str], None]) -> None:
        """Mark these Nodes, if this machine has the key; else the change that follows fails."""
        with self._session() as (observer, _):
            observed = observer.observe(kubernetes=False)
            if observed.key and (kube := observer.kube(observed.base_stack)):
                for name in names:
                    mark(kube, name)

    def _set_count(self, name: str, count: int, options: DrainOptions) -> None:
        def desired(observed: Observed) -> ClusterSpec:
            spec = self._spec(observed)
            return replace(spec, groups=(replace(find(spec, name), count=count),))

        self._execute(desired, f"node group {name} has {count} nodes", options)

    def _execute(
        self,
        desired: Desired,
        done: str,
        options: DrainOptions | None = None,
        *,
        deleted: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        with self._session() as (observer, run):
            nodes = NodeExecutor(observer, run, options or DrainOptions())
            Executor(observer, run, desired, nodes, deleted, done).execute(wait=wait)

    def _session(self) -> AbstractContextManager[tuple[Observer, Run]]:
        arguments = (self.cloud, self.connect_kube, self.data_folder, self.cluster, self.report)
        return session(*arguments, self.timeout, self.poll)

    def _spec(self, observed: Observed) -> ClusterSpec:
        return recorded(self.cluster, observed)


def _with_new(group: NodeGroup, there: ClusterSpec) -> ClusterSpec:
    spec = replace(there, groups=(group,))
    if different := differences(spec, there):
        raise Conflict(
            f"a different node group {group.name!r} exists: {'; '.join(different)}",
            "choose another name; to change the number of nodes: moorage nodegroup resize",
        )
    return spec


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


def _final_count(group: str, names: Sequence[str], observed: Observed) -> int:
    """How many nodes the group is to have after the replacement of these; another run may have begun it."""
    asked, count = observed.kubernetes.nodes if observed.kubernetes else (), find(observed.spec, group).count
    own = [node for node in asked if node.group == group and node.name in names]
    begun = {node.replacing for node in own}
    return count - len(own) if begun == {count - len(own)} else count


def _groups_of(names: Sequence[str], observed: Observed) -> dict[str, str]:
    """The group of each of these nodes."""
    asked = observed.kubernetes.nodes if observed.kubernetes else ()
    members = {}
    for server in observed.servers:
        node = node_of(server, asked)
        members[node.name if node else server.name] = server.metadata.get("moorage_group", "")
    for name in names:
        if observed.group(members.get(name, "")) is None:
            there = ", ".join(sorted(node for node, group in members.items() if observed.group(group))) or "none"
            raise NotFound(f"no node group has a node {name!r}", f"there are: {there}")
    return {name: members[name] for name in names}


def find(spec: ClusterSpec, name: str) -> NodeGroup:
    """The group of that name; NotFound names those that there are."""
    group = spec.group(name)
    if group is None:
        there = ", ".join(each.name for each in spec.groups) or "none"
        raise NotFound(f"cluster {spec.name!r} has no node group {name!r}", f"there are: {there}")
    return group
