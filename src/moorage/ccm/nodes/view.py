"""The cluster's servers as last read."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from moorage.ccm.nodes.identity import Place, server_id
from moorage.ccm.nodes.plan import Unknown
from moorage.cloud.servers import Instance, Instances
from moorage.kube.objects import Object
from moorage.model.errors import CloudUnreachable

FRESH = 1.0  # seconds for which a list is used for all new nodes: they come in groups


class ServerView:
    """One list of the servers for all nodes; thread-safe. Single requests only when a server may be deleted."""

    def __init__(self, instances: Instances, cluster: str, place: Place, clock: Callable[[], float]) -> None:
        self.instances, self.cluster, self.place, self.clock = instances, cluster, place, clock
        self.unreachable = "not read yet"
        self._by_id: dict[str, Instance] = {}
        self._by_name: dict[str, list[Instance]] = {}
        self._at: float | None = None
        self._lock = Lock()

    def refresh(self) -> None:
        """Read the list; CloudUnreachable when that fails, and then nothing is known until the next list."""
        with self._lock:
            self._refresh()

    def listed(self, node: Object) -> Instance | Unknown | None:
        """The node's server in the last list, None when it was not in it, which does not prove that it is deleted."""
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
        """The node's server: from the list, else from a request of its own. None means that the cloud does not have it.

        A new node gets its server for good, by its name. That needs a new list: the last one may still have a deleted
        server of that name.
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
            self._at = asked  # not before: a caller during the first list waits for it
        by_name: dict[str, list[Instance]] = {}
        for server in found:
            by_name.setdefault(server.name, []).append(server)
        self._by_id, self._by_name = {server.id: server for server in found}, by_name
        self.unreachable = ""

    def _list(self) -> list[Instance]:
        """A cluster has at least the server that this runs on: an empty list is from another project."""
        found = self.instances.list(self.cluster)
        if not found:
            raise CloudUnreachable(
                f"the cloud shows no server of the cluster {self.cluster!r}: are the credentials of its project?"
            )
        return found
