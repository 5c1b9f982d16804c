"""The port for a whole OpenStack: one port for each service."""

from __future__ import annotations

from collections.abc import Mapping
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
