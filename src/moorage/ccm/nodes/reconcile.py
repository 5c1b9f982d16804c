"""Two reconcilers: one changes Nodes, the other polls the servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from moorage.ccm.nodes.plan import NodePlan, Notice, plan_node
from moorage.ccm.nodes.view import ServerView
from moorage.kube.events import Recorder
from moorage.kube.objects import NODES, PODS, SYSTEM, KubernetesClient, Object, Resource, key_of
from moorage.model.errors import CloudUnreachable, Conflict, NotFound

PERIOD = 10.0  # seconds between two lists of the servers; the Node of a deleted server is deleted soon after that


class Nodes(Protocol):
    """The informer's Nodes."""

    def get(self, key: str) -> Object | None: ...
    def all(self) -> list[Object]: ...


@dataclass
class NodeReconciler:
    """Syncs a Node with its server; the key is the Node's name."""

    api: KubernetesClient
    nodes: Nodes
    view: ServerView
    events: Recorder
    name: str = "nodes"
    watches: tuple[Resource, ...] = (NODES,)

    def reconcile(self, key: str) -> float | None:
        """CloudUnreachable when the Kubernetes API is unreachable."""
        node = self.nodes.get(key)
        if node is None or node["metadata"].get("deletionTimestamp"):
            return None
        plan = plan_node(node, self.view.ask(node), self.view.place)
        try:
            self._execute(key, node, plan)
        except (Conflict, NotFound):
            return 0.5  # it changed or was deleted meanwhile: the watch delivers that
        return plan.again

    def _execute(self, key: str, node: Object, plan: NodePlan) -> None:
        if plan.status:
            node = self.api.patch(NODES, key, _guarded(node, plan.status), status=True)
        if plan.delete:
            self.api.delete(NODES, key, node["metadata"]["uid"])
            self._end_pods(key)
        if plan.change:
            self.api.patch(NODES, key, _guarded(node, plan.change))
        if plan.notice:
            self.events.event(node, plan.notice.reason, plan.notice.message, plan.notice.type)

    def _end_pods(self, name: str) -> None:
        """Kubernetes would do this a minute later. Their machine is deleted: none of them can be running."""
        for pod in self.api.list(PODS, f"spec.nodeName={name}").items:
            with suppress(Conflict):  # a pod of the same name, now on another node
                self.api.delete(PODS, key_of(pod), pod["metadata"]["uid"], at_once=True)


@dataclass
class ServerPoll:
    """Lists the servers every ten seconds and wakes the Nodes that need a change."""

    nodes: Nodes
    view: ServerView
    events: Recorder
    wake: Callable[[str], None]
    name: str = "servers"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)

    def reconcile(self, key: str) -> float | None:
        """Never raises for an unreachable cloud: it records one Event, and polls again."""
        try:
            self.view.refresh()
        except CloudUnreachable as error:
            notice = Notice("CloudUnreachable", f"nodes are not changed, because the cloud cannot be asked: {error}")
            self.events.event(SYSTEM, notice.reason, notice.message)
            return PERIOD
        for node in self.nodes.all():
            if not plan_node(node, self.view.listed(node), self.view.place).idle:
                self.wake(node["metadata"]["name"])
        return PERIOD


def _guarded(node: Object, change: Object) -> dict[str, Any]:
    """The patch with the resourceVersion that we saw, because it replaces lists entirely."""
    version = {"resourceVersion": node["metadata"]["resourceVersion"]}
    return {**change, "metadata": {**change.get("metadata", {}), **version}}
