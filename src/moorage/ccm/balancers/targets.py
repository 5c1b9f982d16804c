"""The nodes that traffic may go to, read once for each version of a node: there are many, and many Services ask."""

from __future__ import annotations

from typing import Protocol

from moorage.ccm.balancers.views import Node, node_of
from moorage.kube.objects import Object


class Stored(Protocol):
    """Objects of one resource in the watch cache."""

    def get(self, key: str) -> Object | None: ...
    def all(self) -> list[Object]: ...
    def by(self, name: str, value: str) -> list[Object]: ...


class Targets:
    """Used by many threads: at worst a node is read twice."""

    def __init__(self, nodes: Stored) -> None:
        self.nodes = nodes
        self._read: dict[str, tuple[str, Node | None]] = {}
        self._told: dict[str, Node | None] = {}

    def all(self) -> list[Node]:
        return [view for found in self.nodes.all() if (view := self._view(found)) is not None]

    def changed(self, found: Object) -> bool:
        """Whether the news of a node are any to a load balancer: most are not."""
        name = found["metadata"]["name"]
        new = self._view(found) if self.nodes.get(name) is not None else None
        if new is None:
            self._read.pop(name, None)
        old = self._told.pop(name, None)
        if new is not None:
            self._told[name] = new
        return new != old

    def _view(self, found: Object) -> Node | None:
        name, version = found["metadata"]["name"], found["metadata"].get("resourceVersion", "")
        known = self._read.get(name)
        if known is None or known[0] != version:
            known = self._read[name] = (version, node_of(found))
        return known[1]
