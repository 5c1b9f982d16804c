"""What load balancing needs of an OpenStack: Octavia's load balancers, as its API version 2 has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ACTIVE, ERROR = "ACTIVE", "ERROR"


@dataclass(frozen=True)
class HealthMonitor:
    """Asks each member how it is. `type` is Octavia's: TCP, UDP-CONNECT, HTTP, SCTP; times in seconds."""

    type: str
    delay: int
    timeout: int
    max_retries: int
    max_retries_down: int
    path: str = ""
    id: str = ""


class Member(NamedTuple):
    """Where traffic goes. `monitor_port` is the port that the monitor asks, `port` itself when None.

    A tuple, for there are many: it takes a third of a dataclass's room and time.
    """

    address: str
    port: int
    subnet: str = ""
    monitor_port: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Pool:
    """Members that share a load. `session_persistence` is empty or Octavia's word for it, SOURCE_IP."""

    name: str
    protocol: str
    algorithm: str
    members: tuple[Member, ...] = ()
    monitor: HealthMonitor | None = None
    session_persistence: str = ""
    id: str = ""


@dataclass(frozen=True)
class Timeouts:
    """Of a listener, in milliseconds; None leaves it to Octavia."""

    client_data: int | None = None
    member_connect: int | None = None
    member_data: int | None = None
    tcp_inspect: int | None = None


@dataclass(frozen=True)
class Listener:
    """A port that is listened on. `connections` -1 means no limit; `forwarded_for` tells HTTP members the client."""

    name: str
    protocol: str
    port: int
    pool: Pool | None = None
    tags: tuple[str, ...] = ()
    allowed_cidrs: tuple[str, ...] = ()
    connections: int = -1
    forwarded_for: bool = False
    timeouts: Timeouts = Timeouts()
    id: str = ""


@dataclass(frozen=True)
class LoadBalancer:
    """A load balancer with all that hangs on it.

    `provisioning_status` is ACTIVE, ERROR, PENDING_UPDATE …; nothing can be changed while it is PENDING.
    `operating_status` is the state of the members. Octavia chooses whichever of network, subnet, port and address of
    the virtual IP is empty. `flavor` is the id of an Octavia flavor, `zone` the name of an availability zone.
    """

    name: str
    provider: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    network: str = ""
    subnet: str = ""
    port: str = ""
    address: str = ""
    flavor: str = ""
    zone: str = ""
    id: str = ""
    provisioning_status: str = ""
    operating_status: str = ""

    @property
    def pending(self) -> bool:
        return self.provisioning_status.startswith("PENDING")


class LoadBalancers(Protocol):
    """The load balancers of one project.

    Every call may raise CloudUnreachable (no answer: try again). Calls that change something return before it is
    done, and may raise Conflict (the load balancer is PENDING: try again; or what is asked for is taken), BadInput
    (refused, as by a provider that cannot do it), QuotaExceeded, and NotFound. Deletions of what is gone do nothing.
    """

    def providers(self) -> list[str]:
        """What this cloud's load balancers may be made by, such as amphora and ovn; empty where it has none at all."""
        ...

    def named(self, name: str) -> list[LoadBalancer]:
        """Those of that name, without what hangs on them."""
        ...

    def tagged(self, tag: str) -> list[LoadBalancer]:
        """Those with that tag, without what hangs on them."""
        ...

    def tree(self, id: str) -> LoadBalancer | None:
        """One with all that hangs on it, None when it is gone."""
        ...

    def status(self, id: str) -> str:
        """Its provisioning status, empty when it is gone: one call. PENDING also while only a part of it is."""
        ...

    def create(self, wanted: LoadBalancer) -> LoadBalancer:
        """Ask for one with all that hangs on it, in one call; Conflict when address or port is in use."""
        ...

    def set_tags(self, id: str, tags: Iterable[str]) -> None: ...

    def delete(self, id: str) -> None:
        """With all that hangs on it."""
        ...

    def create_listener(self, load_balancer: str, wanted: Listener) -> str:
        """Without its pool; returns the id."""
        ...

    def update_listener(self, id: str, wanted: Listener) -> None:
        """All but protocol and port, which cannot be changed."""
        ...

    def delete_listener(self, id: str) -> None: ...

    def create_pool(self, listener: str, wanted: Pool) -> str:
        """As the listener's, without members and monitor; returns the id."""
        ...

    def update_pool(self, id: str, wanted: Pool) -> None:
        """Algorithm and persistence."""
        ...

    def delete_pool(self, id: str) -> None: ...

    def set_members(self, pool: str, members: Iterable[Member]) -> None:
        """These and no others, in one call."""
        ...

    def create_health_monitor(self, pool: str, wanted: HealthMonitor) -> None: ...

    def update_health_monitor(self, id: str, wanted: HealthMonitor) -> None:
        """All but the type, which cannot be changed."""
        ...

    def delete_health_monitor(self, id: str) -> None: ...
