"""The nodes that may get traffic, parsed once for each version of a Node: there are many, and many Services
need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from moorage.ccm.load_balancers.views import Node, node_of
from moorage.kube.objects import NODES, Object, Resource


class Stored(Protocol):
    """An informer's store of one resource."""

    def get(self, key: str) -> Object | None: ...
    def all(self) -> list[Object]: ...
    def by(self, name: str, value: str) -> list[Object]: ...


class TargetNodes:
    """Thread-safe: at worst a node is parsed twice."""

    def __init__(self, nodes: Stored) -> None:
        self.nodes = nodes
        self._views: dict[str, tuple[str, Node | None]] = {}
        self._last_views: dict[str, Node | None] = {}
        self._last: tuple[Node, ...] = ()

    def all(self) -> tuple[Node, ...]:
        """By name; the same tuple as before when nothing has changed, because every Service keeps one."""
        views = [view for found in self.nodes.all() if (view := self._view(found)) is not None]
        fresh, last = tuple(sorted(views, key=lambda view: view.name)), self._last
        if fresh != last:
            self._last = last = fresh
        return last

    def changed(self, found: Object) -> bool:
        """Whether a change of a Node matters to load balancers: most do not."""
        name = found["metadata"]["name"]
        new = self._view(found) if self.nodes.get(name) is not None else None
        if new is None:
            self._views.pop(name, None)
        old = self._last_views.pop(name, None)
        if new is not None:
            self._last_views[name] = new
        return new != old

    def _view(self, found: Object) -> Node | None:
        name, version = found["metadata"]["name"], found["metadata"].get("resourceVersion", "")
        known = self._views.get(name)
        if known is None or known[0] != version:
            known = self._views[name] = (version, node_of(found))
        return known[1]


@dataclass
class NodeChanges:
    """Reconciles the `affected` Services when a Node changed in what matters to them.

    All changes within a moment cause one reconcile, so that a failing rack or a starting cluster does not cause one for
    each node and Service.
    """

    targets: TargetNodes
    affected: Callable[[], Iterable[str]]
    wake: Callable[[str], None]
    name: str = "load-balancer-nodes"
    watches: tuple[Resource, ...] = (NODES,)
    gather: float = 0.2

    def keys_for(self, resource: Resource, found: Object) -> Iterable[str]:
        """No key for most changes of a Node."""
        return ("all",) if self.targets.changed(found) else ()

    def reconcile(self, key: str) -> float | None:
        for service in self.affected():
            self.wake(service)
        return None
