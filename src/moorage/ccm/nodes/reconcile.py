"""The two reconcilers of nodes: one updates a node, the other polls the servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from moorage.ccm.nodes.plan import NodeEvent, NodePlan, plan_node
from moorage.ccm.nodes.view import ServerView
from moorage.kube.events import Recorder
from moorage.kube.port import NODES, PODS, SYSTEM, KubernetesClient, Object, Resource, key_of
from moorage.kube.store import Store
from moorage.model.errors import CloudUnreachable, Conflict, NotFound

PERIOD = 10.0  # seconds between two lists of the servers; a deleted server's node is deleted shortly after that


@dataclass
class NodeReconciler:
    """Brings a node in step with its server; the key is the node's name."""

    api: KubernetesClient
    nodes: Store
    view: ServerView
    events: Recorder
    name: str = "nodes"
    watches: tuple[Resource, ...] = (NODES,)

    def reconcile(self, key: str) -> float | None:
        """Raises KubernetesUnreachable."""
        node = self.nodes.get(key)
        if node is None or node["metadata"].get("deletionTimestamp"):
            return None
        plan = plan_node(node, self.view.find(node), self.view.place)
        try:
            self._execute(key, node, plan)
        except (Conflict, NotFound):
            return 0.5  # the node was changed or deleted meanwhile: the watch delivers the new state
        return plan.retry_after

    def _execute(self, key: str, node: Object, plan: NodePlan) -> None:
        if plan.status:
            node = self.api.patch(NODES, key, with_version(node, plan.status), status=True)
        if plan.delete:
            self.api.delete(NODES, key, node["metadata"]["uid"])
            self._delete_pods(key)
        if plan.change:
            self.api.patch(NODES, key, with_version(node, plan.change))
        if plan.event:
            self.events.event(node, plan.event.reason, plan.event.message, plan.event.type)

    def _delete_pods(self, node: str) -> None:
        """Deletes the node's pods at once: their server no longer exists, so none of them can run.

        Kubernetes would delete them a minute later.
        """
        for pod in self.api.list(PODS, f"spec.nodeName={node}").items:
            with suppress(Conflict):  # a new pod of the same name, on another node
                self.api.delete(PODS, key_of(pod), pod["metadata"]["uid"], at_once=True)


@dataclass
class ServerPoll:
    """Lists the servers every ten seconds and wakes the reconciler for the nodes that need a change."""

    nodes: Store
    view: ServerView
    events: Recorder
    wake: Callable[[str], None]
    name: str = "servers"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)

    def reconcile(self, key: str) -> float | None:
        """Never raises for an unreachable cloud: it records one Event and polls again."""
        try:
            self.view.refresh()
        except CloudUnreachable as error:
            event = NodeEvent("CloudUnreachable", f"nodes are not updated, because the cloud does not answer: {error}")
            self.events.event(SYSTEM, event.reason, event.message)
            return PERIOD
        for node in self.nodes.all():
            if not plan_node(node, self.view.find_listed(node), self.view.place).is_empty:
                self.wake(node["metadata"]["name"])
        return PERIOD


def with_version(node: Object, change: Object) -> dict[str, Any]:
    """The patch with the node's resourceVersion: the API rejects it for a newer node, as it replaces whole lists."""
    version = {"resourceVersion": node["metadata"]["resourceVersion"]}
    return {**change, "metadata": {**change.get("metadata", {}), **version}}
