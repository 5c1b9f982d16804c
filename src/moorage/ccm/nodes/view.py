"""The servers of the cluster, as of the last list."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from moorage.ccm.nodes.identity import Place, server_id
from moorage.ccm.nodes.plan import UnknownServer
from moorage.cloud.port.servers import Server, Servers
from moorage.kube.port import Object
from moorage.model.errors import CloudUnreachable

FRESH = 1.0  # seconds for which one list serves all new nodes: nodes join in groups


class ServerView:
    """One list of the servers for all nodes, read by any thread. It gets a single server only if the list lacks it."""

    def __init__(self, servers: Servers, cluster: str, place: Place, clock: Callable[[], float]) -> None:
        self.servers, self.cluster, self.place, self.clock = servers, cluster, place, clock
        self.unreachable = "not listed yet"
        self._by_id: dict[str, Server] = {}
        self._by_name: dict[str, list[Server]] = {}
        self._listed_at: float | None = None
        self._lock = Lock()

    def refresh(self) -> None:
        """Lists the servers. Raises CloudUnreachable when that fails; every server is unknown until the next list."""
        with self._lock:
            self._refresh()

    def find_listed(self, node: Object) -> Server | UnknownServer | None:
        """The node's server in the last list. None if the list lacks it, which does not prove that it is deleted."""
        id = server_id(node, self.place)
        if self.unreachable:
            return UnknownServer(self.unreachable)
        if id:
            return self._by_id.get(id)
        named = self._by_name.get(node["metadata"]["name"], [])
        if len(named) > 1:
            return UnknownServer(f"{len(named)} servers have its name: {', '.join(server.id for server in named)}")
        return named[0] if named else None

    def find(self, node: Object) -> Server | UnknownServer | None:
        """The node's server: from the list, else from a request for it alone. None if the cloud has deleted it.

        A new node is matched to its server by name, permanently. That needs a new list: the last one may lack it.
        """
        id = server_id(node, self.place)
        try:
            if self._listed_at is None or not id:
                self._refresh_if_stale()
            server = self.find_listed(node)
            return self.servers.get(id) if server is None and id else server
        except CloudUnreachable as error:
            return UnknownServer(error.message)

    def _refresh_if_stale(self) -> None:
        with self._lock:
            if self._listed_at is None or self.clock() >= self._listed_at + FRESH:
                self._refresh()

    def _refresh(self) -> None:
        started = self.clock()
        try:
            servers = self._list()
        except CloudUnreachable as error:
            self.unreachable = error.message
            raise
        finally:
            self._listed_at = started  # not earlier: callers during the first list must wait for it
        by_name: dict[str, list[Server]] = {}
        for server in servers:
            by_name.setdefault(server.name, []).append(server)
        self._by_id, self._by_name = {server.id: server for server in servers}, by_name
        self.unreachable = ""

    def _list(self) -> list[Server]:
        """Rejects an empty list: the controller itself runs on a server, so the credentials are of another project."""
        servers = self.servers.list(self.cluster)
        if not servers:
            raise CloudUnreachable(
                f"the cloud lists no server of the cluster {self.cluster!r}: are the credentials of another project?"
            )
        return servers
