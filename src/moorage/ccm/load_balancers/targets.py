"""The nodes that can receive traffic. Each version of a node is parsed once, because many Services use many nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from moorage.ccm.load_balancers.views import Node, parse_node
from moorage.kube.port import NODES, Object, Resource


class Stored(Protocol):
    """Objects of one resource in the watch cache."""

    def get(self, key: str) -> Object | None: ...
    def all(self) -> list[Object]: ...
    def by(self, name: str, value: str) -> list[Object]: ...


class TargetNodes:
    """Used by many threads: a race at worst parses a node twice."""

    def __init__(self, nodes: Stored) -> None:
        self.nodes = nodes
        self._parsed: dict[str, tuple[str, Node | None]] = {}
        self._reported: dict[str, Node | None] = {}
        self._last: tuple[Node, ...] = ()

    def all(self) -> tuple[Node, ...]:
        """The nodes by name; the same tuple as before if none has changed, because every Service keeps a reference."""
        views = [view for node in self.nodes.all() if (view := self._view(node)) is not None]
        current, last = tuple(sorted(views, key=lambda view: view.name)), self._last
        if current != last:
            self._last = last = current
        return last

    def has_changed(self, node: Object) -> bool:
        """Whether the node changed in what load balancers depend on since the last call; most updates do not."""
        name = node["metadata"]["name"]
        new = self._view(node) if self.nodes.get(name) is not None else None
        if new is None:
            self._parsed.pop(name, None)
        old = self._reported.pop(name, None)
        if new is not None:
            self._reported[name] = new
        return new != old

    def _view(self, node: Object) -> Node | None:
        name, version = node["metadata"]["name"], node["metadata"].get("resourceVersion", "")
        cached = self._parsed.get(name)
        if cached is None or cached[0] != version:
            cached = self._parsed[name] = (version, parse_node(node))
        return cached[1]


@dataclass
class NodeChanges:
    """Wakes the reconciler for the `affected` Services when a node changed in what load balancers depend on.

    It gathers all changes within `gather` seconds: when a rack fails or a cluster starts, each Service is reconciled
    once, not once for each node.
    """

    targets: TargetNodes
    affected: Callable[[], Iterable[str]]
    wake: Callable[[str], None]
    name: str = "load-balancer-nodes"
    watches: tuple[Resource, ...] = (NODES,)
    gather: float = 0.2

    def keys_for(self, resource: Resource, found: Object) -> Iterable[str]:
        """Empty for most updates of a node."""
        return ("all",) if self.targets.has_changed(found) else ()

    def reconcile(self, key: str) -> float | None:
        for service in self.affected():
            self.wake(service)
        return None
