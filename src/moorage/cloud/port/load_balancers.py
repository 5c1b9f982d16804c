"""The port for load balancers: Octavia's API version 2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ACTIVE, ERROR = "ACTIVE", "ERROR"


@dataclass(frozen=True)
class HealthMonitor:
    """A health monitor. `type` is Octavia's: TCP, UDP-CONNECT, HTTP, SCTP; times in seconds."""

    type: str
    delay: int
    timeout: int
    max_retries: int
    max_retries_down: int
    path: str = ""
    id: str = ""


class Member(NamedTuple):
    """A member of a pool. `monitor_port` is the port that is monitored, `port` when None.

    A tuple, because there are many: it takes a third of a dataclass's memory and time.
    """

    address: str
    port: int
    subnet: str = ""
    monitor_port: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Pool:
    """A pool of members. `session_persistence` is empty or Octavia's SOURCE_IP."""

    name: str
    protocol: str
    algorithm: str
    members: tuple[Member, ...] = ()
    monitor: HealthMonitor | None = None
    session_persistence: str = ""
    id: str = ""


@dataclass(frozen=True)
class Timeouts:
    """A listener's timeouts in milliseconds; None selects Octavia's default."""

    client_data: int | None = None
    member_connect: int | None = None
    member_data: int | None = None
    tcp_inspect: int | None = None


@dataclass(frozen=True)
class Listener:
    """A listener. `connections` -1 means no limit; `forwarded_for` inserts the X-Forwarded-For header."""

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
    """A load balancer with its listeners, pools and members.

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

    Every call may raise CloudUnreachable (no response: try again). Calls that change something return before the change
    is complete. They may raise Conflict (the load balancer is PENDING: try again; or an address or port is in use),
    BadInput (rejected, for example because the provider does not support it), QuotaExceeded, and NotFound. Deletions of
    missing objects do nothing.
    """

    def providers(self) -> list[str]:
        """The providers that this cloud offers, such as amphora and ovn; empty without load balancers."""
        ...

    def named(self, name: str) -> list[LoadBalancer]:
        """Load balancers of that name, without listeners."""
        ...

    def tagged(self, tag: str) -> list[LoadBalancer]:
        """Load balancers with that tag, without listeners."""
        ...

    def get(self, id: str) -> LoadBalancer | None:
        """One load balancer with its listeners, pools and members; None when it does not exist."""
        ...

    def status(self, id: str) -> str:
        """The provisioning status, empty when it does not exist: one call. PENDING also while only a part of it is."""
        ...

    def create(self, desired: LoadBalancer) -> LoadBalancer:
        """Create one with all its parts, in one call; Conflict when its address or port is in use."""
        ...

    def set_tags(self, id: str, tags: Iterable[str]) -> None: ...

    def delete(self, id: str) -> None:
        """Delete one with its listeners, pools and members."""
        ...

    def create_listener(self, load_balancer: str, desired: Listener) -> str:
        """Create a listener without its pool; returns the id."""
        ...

    def update_listener(self, id: str, desired: Listener) -> None:
        """Update all but protocol and port, which cannot be changed."""
        ...

    def delete_listener(self, id: str) -> None: ...

    def create_pool(self, listener: str, desired: Pool) -> str:
        """Create a listener's pool, without members and monitor; returns the id."""
        ...

    def update_pool(self, id: str, desired: Pool) -> None:
        """Update algorithm and session persistence."""
        ...

    def delete_pool(self, id: str) -> None: ...

    def set_members(self, pool: str, members: Iterable[Member]) -> None:
        """Replace all members, in one call."""
        ...

    def create_health_monitor(self, pool: str, desired: HealthMonitor) -> None: ...

    def update_health_monitor(self, id: str, desired: HealthMonitor) -> None:
        """Update all but the type, which cannot be changed."""
        ...

    def delete_health_monitor(self, id: str) -> None: ...
