"""The port for a whole OpenStack: one port for each service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from moorage.cloud.port.identity import Identity
from moorage.cloud.port.images import Images
from moorage.cloud.port.load_balancers import LoadBalancers
from moorage.cloud.port.network import Network
from moorage.cloud.port.servers import Servers
from moorage.cloud.port.stacks import Stacks
from moorage.cloud.port.volumes import Volumes


class Cloud(Protocol):
    """One project of one cloud.

    Every call may raise CloudUnreachable (which service, which address, why). A read of an object that does not exist
    returns None or leaves it out. Calls may be repeated.
    """

    @property
    def defaults(self) -> Mapping[str, str]:
        """What clouds.yaml names below `moorage` for new clusters: `flavor`, `worker_flavor`, `external_network`."""
        ...

    @property
    def identity(self) -> Identity: ...

    @property
    def stacks(self) -> Stacks: ...

    @property
    def servers(self) -> Servers: ...

    @property
    def images(self) -> Images: ...

    @property
    def network(self) -> Network: ...

    @property
    def load_balancers(self) -> LoadBalancers | None:
        """The project's load balancers; None without Octavia in the catalog."""
        ...

    @property
    def volumes(self) -> Volumes | None:
        """The project's volumes; None without Cinder in the catalog."""
        ...

    def delete_orphans(self, cluster: str, ids: Iterable[str]) -> list[str]:
        """Delete resources of a cluster in deletion that Heat does not know. Returns what is still being deleted, as in
        "server a-0".

        A service that died in the middle leaves servers that only their metadata identify, network resources that only
        their description identifies and that are not among these ids, and ports on both kinds of networks: ports of
        routers, of deleted servers, and without an owner. Call it until it returns nothing and `leftovers` returns
        nothing.
        """
        ...

    def leftovers(self, cluster: str, ids: Iterable[str]) -> list[str]:
        """What remains of a cluster, as in "port demo-nodes": its servers and network resources.

        Network resources are the cluster's by these ids, or by their description (`model.ownership.owned_by`).
        """
        ...
