"""The steps that a plan is made of: each is one thing to do in the cloud, known by the ids it is done to."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.balancers import Balancer, Listener, Member, Monitor, Pool
from moorage.cloud.fronts import Rule


@dataclass(frozen=True)
class CreateBalancer:
    wanted: Balancer


@dataclass(frozen=True)
class RemoveBalancer:
    balancer: str


@dataclass(frozen=True)
class Retag:
    balancer: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class AddListener:
    """With its pool, members and monitor."""

    balancer: str
    wanted: Listener


@dataclass(frozen=True)
class ChangeListener:
    balancer: str
    id: str
    wanted: Listener


@dataclass(frozen=True)
class RemoveListener:
    """With its pool, which would outlive it."""

    balancer: str
    id: str
    pool: str = ""


@dataclass(frozen=True)
class AddPool:
    """With its members and monitor."""

    balancer: str
    listener: str
    wanted: Pool


@dataclass(frozen=True)
class ChangePool:
    balancer: str
    id: str
    wanted: Pool


@dataclass(frozen=True)
class RemovePool:
    balancer: str
    id: str


@dataclass(frozen=True)
class SetMembers:
    """All members of a pool, however many of them are new: one call."""

    balancer: str
    pool: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class AddMonitor:
    balancer: str
    pool: str
    wanted: Monitor


@dataclass(frozen=True)
class ChangeMonitor:
    balancer: str
    id: str
    wanted: Monitor


@dataclass(frozen=True)
class RemoveMonitor:
    balancer: str
    id: str


@dataclass(frozen=True)
class MakeFloating:
    network: str
    subnet: str
    port: str
    description: str
    address: str = ""


@dataclass(frozen=True)
class MapFloating:
    """To no port, when that is empty."""

    id: str
    port: str


@dataclass(frozen=True)
class ReleaseFloating:
    """Keep it in the project, as nobody's."""

    id: str


@dataclass(frozen=True)
class HandFloating:
    """Say that it is another Service's, nobody's when the description is empty."""

    id: str
    description: str


@dataclass(frozen=True)
class RemoveFloating:
    id: str


@dataclass(frozen=True)
class AddRule:
    wanted: Rule


@dataclass(frozen=True)
class RemoveRule:
    id: str


# In Octavia, of a load balancer that must not be PENDING then.
Inside = (
    RemoveBalancer
    | Retag
    | AddListener
    | ChangeListener
    | RemoveListener
    | AddPool
    | ChangePool
    | RemovePool
    | SetMembers
    | AddMonitor
    | ChangeMonitor
    | RemoveMonitor
)
# In Neutron.
Outside = MakeFloating | MapFloating | ReleaseFloating | HandFloating | RemoveFloating | AddRule | RemoveRule
Step = CreateBalancer | Inside | Outside
