"""Add, replace and remove the nodes of node groups: one step of a plan, which may be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.stacks import Stack
from moorage.clusters import drain, events, explain, kubernetes, parameters, steps
from moorage.clusters.observer import Observer
from moorage.clusters.progress import REQUESTED, Run
from moorage.kube.port import KubernetesClient
from moorage.model.cluster import DrainOptions
from moorage.model.errors import Failed


@dataclass
class NodeExecutor:
    """Executes the steps for nodes."""

    observer: Observer
    run: Run
    options: DrainOptions = field(default_factory=DrainOptions)
    _draining: frozenset[str] = frozenset()
    """The nodes that are drained together, since a time of the run's clock."""
    _draining_since: float = 0

    @property
    def cloud(self) -> Cloud:
        return self.observer.cloud

    def execute(self, step: steps.NodeStep, base: Stack) -> None:
        """Execute one step."""
        match step:
            case steps.DeleteServers():
                self._delete_servers(step)
            case steps.ReplaceNodes():
                self._replace(step, base)
            case steps.AddNodes():
                self._add(step, base)
            case steps.RecordValues() | steps.MakeCurrent():
                self._record(step, base)
            case steps.RemoveNodes():
                self._remove(step, base)
            case steps.DeleteNodes():
                self._delete(step, base)
            case steps.CancelRemoval():
                self._cancel(step, base)
            case steps.RecordGroups():
                if kube := self.observer.kube(base):
                    kubernetes.record_groups(kube, step.groups)

    def join_token(self, base: Stack, *, new: bool) -> str | None:
        """A token with which nodes join; a new one is created in Kubernetes first. None without access to that."""
        if not new:
            name = self.observer.name
            return parameters.first_join_token(self.observer.keys.get_or_create(name), name)
        if (kube := self.observer.kube(base)) is None:
            return None
        token = parameters.join_token()
        kubernetes.create_join_token(kube, token)
        return token

    def _delete_servers(self, step: steps.DeleteServers) -> None:
        for server in step.servers:
            text = f"deleting server {server.name}, which is not complete in Heat"
            self.run.act("ServerDeleted", server.name, text, warning=True)
            self.cloud.servers.delete(server.id)

    def _replace(self, step: steps.ReplaceNodes, base: Stack) -> None:
        """Their names are never used again."""
        reason = events.REPAIRED if step.repairs else events.REPLACED
        self.run.act(reason, step.stack.name, step.reason, warning=True)
        if step.new_token and (kube := self.observer.kube(base)):
            for server in step.servers:
                drain.delete(kube, explain.node_name(server, step.stack.name))
        removed = [explain.node_index(server) for server in step.servers]
        self._update(step.stack, {"remove": removed}, base, new_token=step.new_token)

    def _add(self, step: steps.AddNodes, base: Stack) -> None:
        self.run.act(events.ADDED, step.stack.name, f"requesting {step.size} nodes in {step.stack.name} from Heat")
        self._update(step.stack, {"count": step.size, **step.values}, base, new_token=True)

    def _record(self, step: steps.RecordValues | steps.MakeCurrent, base: Stack) -> None:
        if isinstance(step, steps.MakeCurrent):
            text = f"{step.stack.name} becomes revision {step.revision} of node group {step.group.name}"
            self.run.act("RevisionChanged", step.stack.name, text)
            values: Mapping[str, int] = {"revision": step.revision, "desired_count": step.group.count}
        else:
            self.run.log.record(f"recording {', '.join(step.values)} of {step.stack.name}")
            self.run.act(REQUESTED, step.stack.name)
            values = step.values
        # Heat retries what failed in a former revision, perhaps long after its token has expired.
        self._update(step.stack, values, base, new_token=isinstance(step, steps.MakeCurrent))

    def _remove(self, step: steps.RemoveNodes, base: Stack) -> None:
        if not self.drain_nodes(step.nodes, base, drain.begin):
            return
        self._mark_lost(step, base)
        if step.size is None:
            self.run.act("GroupDeleted", step.stack.name, f"deleting stack {step.stack.name}")
            self.cloud.stacks.delete(step.stack)
            return
        there = [it for it in self.cloud.stacks.resources(step.stack) if it.type == explain.SERVER]
        indexes = {it.physical_id: explain.node_index(it) for it in there}
        untracked = [server for server in step.servers if server not in indexes]
        for server in untracked:
            text = f"deleting server {server}, which is not complete in Heat"
            self.run.act("ServerDeleted", step.stack.name, text, warning=True)
            self.cloud.servers.delete(server)
        if untracked:  # Heat would remove others in their place
            return
        removed = [*map(explain.node_index, step.lost), *(indexes[server] for server in step.servers)]
        names = [f"{step.stack.name}-{index}" for index in removed]
        self.run.act("NodesRemoved", step.stack.name, f"removing {', '.join(names)}")
        values = {"count": step.size, "remove": removed, **step.values}
        self._update(step.stack, values, base, new_token=step.new_token)

    def _mark_lost(self, step: steps.RemoveNodes, base: Stack) -> None:
        """Their Nodes are deleted with the others; they cannot be drained."""
        if kube := self.observer.kube(base):
            for server in step.lost:
                drain.begin(kube, explain.node_name(server, step.stack.name))

    def drain_nodes(self, nodes: Sequence[str], base: Stack, begin: Callable[[KubernetesClient, str], None]) -> bool:
        """Begin to drain these Nodes or continue; whether they are drained. Failed when that takes too long."""
        if (kube := self.observer.kube(base)) is None:
            return False
        for node in nodes:
            begin(kube, node)
        return self._drained({node: drain.drain(kube, node) for node in nodes})

    def _drained(self, nodes: Mapping[str, drain.Draining]) -> bool:
        """Whether all nodes are drained, or drained for long enough; Failed with the reason if they have to be."""
        now, names = self.run.log.poll.now(), frozenset(nodes)
        if self._draining != names:
            self._draining, self._draining_since = names, now
        left = [text for state in nodes.values() for text in (*state.blocked, *state.waiting)]
        if not left:
            self._draining = frozenset()
            return True
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        done = sum(state.done for state in nodes.values())
        text = f"draining {', '.join(nodes)}: {done} of {len(nodes)} drained; {left[0]}{more}"
        if now - self._draining_since < self.options.timeout:
            self.run.log.record(text)
            return False
        if not self.options.force:
            raise _not_drained(self.options.timeout, left)
        going_on = f"{text}: going on after {self.options.timeout:.0f} s"
        self.run.act("DrainTimedOut", self.observer.name, going_on, warning=True)
        return True

    def _delete(self, step: steps.DeleteNodes, base: Stack) -> None:
        if kube := self.observer.kube(base):
            for node in step.nodes:
                self.run.log.record(f"deleting node {node}")
                drain.delete(kube, node)

    def _cancel(self, step: steps.CancelRemoval, base: Stack) -> None:
        self._draining = frozenset()
        if kube := self.observer.kube(base):
            for node in step.nodes:
                self.run.log.record(f"uncordoning node {node}, which is not to be removed any more")
                drain.cancel(kube, node)

    def _update(self, stack: Stack, values: Mapping[str, Any], base: Stack, *, new_token: bool) -> None:
        """New nodes need a new token once the cluster's first one may have expired."""
        token = {"bootstrap_token": self.join_token(base, new=True)} if new_token else {}
        if None not in token.values():
            self.cloud.stacks.update(stack, {**values, **token})


def _not_drained(timeout: float, left: Sequence[str]) -> Failed:
    return Failed(
        f"nodes could not be drained within {timeout:.0f} s: {'; '.join(left[:3])}",
        "they stay cordoned. Run the command again to go on, with --force to go on without them;"
        " kubectl uncordon, or a resize to the former number of nodes, undoes it",
    )
