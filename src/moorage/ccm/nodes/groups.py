"""Keeps the labels and taints of node groups on their Nodes, as they were recorded for each revision of a group."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moorage.ccm.nodes.reconcile import with_version
from moorage.kube.port import CONFIG_MAPS, NODES, KubernetesClient, Object, Resource
from moorage.kube.store import Store
from moorage.model.errors import BadInput, Conflict, NotFound
from moorage.model.nodes import GROUPS, stack_of

PERIOD = 10.0  # seconds between two reads of the record
ALL = ""  # the key of all nodes

log = logging.getLogger(__name__)


@dataclass
class GroupReconciler:
    """Adds labels and taints that a Node lacks; the key is the Node's name, or ALL.

    It removes none. The Node's name says which it gets: a kubelet cannot change that.
    """

    api: KubernetesClient
    nodes: Store
    name: str = "node-groups"
    watches: tuple[Resource, ...] = (NODES,)
    always: tuple[str, ...] = (ALL,)
    workers: int = 1
    _record: Mapping[str, Any] = field(default_factory=dict)

    def reconcile(self, key: str) -> float | None:
        """Raises KubernetesUnreachable."""
        if key != ALL:
            self._update(self.nodes.get(key))
            return None
        self._record = _parsed((self.api.get(CONFIG_MAPS, GROUPS) or {}).get("data") or {})
        for node in self.nodes.all():
            self._update(node)
        return PERIOD

    def _update(self, node: Object | None) -> None:
        change = missing(node, self._record) if node else {}
        if not node or not change:
            return
        try:
            self.api.patch(NODES, node["metadata"]["name"], with_version(node, change))
        except (Conflict, NotFound):
            return  # the node was changed or deleted meanwhile: the watch delivers the new state
        except BadInput as error:
            log.warning("node %s: its labels and taints are refused: %s", node["metadata"]["name"], error)


def missing(node: Object, record: Mapping[str, Any]) -> Object:
    """The merge patch that adds what the node lacks of its stack's labels and taints; empty when it lacks nothing."""
    current = node["metadata"].get("labels") or {}
    group = record.get(stack_of(node["metadata"]["name"]), {})
    labels = {key: value for key, value in group.get("labels", {}).items() if current.get(key) != value}
    taints = node.get("spec", {}).get("taints") or []
    lacking = [it for it in group.get("taints", ()) if not _has(taints, it)]
    change: Object = {"metadata": {"labels": labels}} if labels else {}
    if lacking:
        replaced = {(it["key"], it["effect"]) for it in lacking}
        kept = [taint for taint in taints if (taint["key"], taint["effect"]) not in replaced]
        change["spec"] = {"taints": [*kept, *lacking]}
    return change


def _has(taints: list[Object], desired: Object) -> bool:
    names = ("key", "effect", "value")
    expected = [desired.get(name, "") for name in names]
    return any([taint.get(name, "") for name in names] == expected for taint in taints)


def _parsed(data: Mapping[str, str]) -> Mapping[str, Any]:
    """The record; entries that are not as `clusters` writes them are logged and left out."""
    found = {}
    for stack, text in data.items():
        try:
            entry = json.loads(text)
            taints = [{name: taint[name] for name in ("key", "effect", "value")} for taint in entry["taints"]]
            found[stack] = {"labels": dict(entry["labels"]), "taints": taints}
        except (ValueError, KeyError, TypeError) as error:
            log.warning("nodes of %s: their record in %s cannot be read: %s", stack, GROUPS, error)
    return found
