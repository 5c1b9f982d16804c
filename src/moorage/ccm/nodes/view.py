"""What was last heard of the cluster's servers."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from moorage.ccm.nodes.identity import Place, server_id
from moorage.ccm.nodes.plan import Unknown
from moorage.cloud.servers import Instance, Instances
from moorage.kube.objects import Object
from moorage.model.errors import CloudUnreachable

FRESH = 1.0  # seconds for which a list serves all new nodes: they come in groups


class ServerView:
    """One list of the servers for all nodes; read by any thread. Single questions only where a node may be lost."""

    def __init__(self, instances: Instances, cluster: str, place: Place, clock: Callable[[], float]) -> None:
        self.instances, self.cluster, self.place, self.clock = instances, cluster, place, clock
        self.unreachable = "not asked yet"
        self._by_id: dict[str, Instance] = {}
        self._by_name: dict[str, list[Instance]] = {}
        self._at: float | None = None
        self._lock = Lock()

    def refresh(self) -> None:
        """Ask for the list; CloudUnreachable when that fails, and then nothing is known until the next list."""
        with self._lock:
            self._refresh()

    def listed(self, node: Object) -> Instance | Unknown | None:
        """The node's server by the last list, None when that had none: which does not say that it is gone."""
        known = server_id(node, self.place)
        if self.unreachable:
            return Unknown(self.unreachable)
        if known:
            return self._by_id.get(known)
        named = self._by_name.get(node["metadata"]["name"], [])
        if len(named) > 1:
            return Unknown(f"{len(named)} servers have its name: {', '.join(server.id for server in named)}")
        return named[0] if named else None

    def ask(self, node: Object) -> Instance | Unknown | None:
        """The node's server: by the list, else by a question of its own. None is the cloud's word that it is gone.

        A new node is given its server for good, by its name. That is looked up in a new list: the last one may still
        have the server whose place this one took.
        """
        known = server_id(node, self.place)
        try:
            if self._at is None or not known:
                self._refresh_if_stale()
            found = self.listed(node)
            return self.instances.get(known) if found is None and known else found
        except CloudUnreachable as error:
            return Unknown(error.message)

    def _refresh_if_stale(self) -> None:
        with self._lock:
            if self._at is None or self.clock() >= self._at + FRESH:
                self._refresh()

    def _refresh(self) -> None:
        asked = self.clock()
        try:
            found = self._list()
        except CloudUnreachable as error:
            self.unreachable = error.message
            raise
        finally:
            self._at = asked  # not before: whoever asks during the first list waits for it
        by_name: dict[str, list[Instance]] = {}
        for server in found:
            by_name.setdefault(server.name, []).append(server)
        self._by_id, self._by_name = {server.id: server for server in found}, by_name
        self.unreachable = ""

    def _list(self) -> list[Instance]:
        """A cluster has at least the server that we run on: with none at all, we look into another project."""
        found = self.instances.list(self.cluster)
        if not found:
            raise CloudUnreachable(
                f"the cloud shows no server of the cluster {self.cluster!r}: are the credentials of its project?"
            )
        return found
