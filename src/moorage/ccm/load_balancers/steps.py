"""The steps that a plan is made of: each is one thing to do in the cloud, known by the ids it is done to."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.cloud.network import SecurityGroupRule


@dataclass(frozen=True)
class CreateLoadBalancer:
    wanted: LoadBalancer


@dataclass(frozen=True)
class DeleteLoadBalancer:
    load_balancer: str


@dataclass(frozen=True)
class SetTags:
    load_balancer: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class CreateListener:
    """With its pool, members and monitor."""

    load_balancer: str
    wanted: Listener


@dataclass(frozen=True)
class UpdateListener:
    load_balancer: str
    id: str
    wanted: Listener


@dataclass(frozen=True)
class DeleteListener:
    """With its pool, which would outlive it."""

    load_balancer: str
    id: str
    pool: str = ""


@dataclass(frozen=True)
class CreatePool:
    """With its members and monitor."""

    load_balancer: str
    listener: str
    wanted: Pool


@dataclass(frozen=True)
class UpdatePool:
    load_balancer: str
    id: str
    wanted: Pool


@dataclass(frozen=True)
class DeletePool:
    load_balancer: str
    id: str


@dataclass(frozen=True)
class SetMembers:
    """All members of a pool, however many of them are new: one call."""

    load_balancer: str
    pool: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class CreateHealthMonitor:
    load_balancer: str
    pool: str
    wanted: HealthMonitor


@dataclass(frozen=True)
class UpdateHealthMonitor:
    load_balancer: str
    id: str
    wanted: HealthMonitor


@dataclass(frozen=True)
class DeleteHealthMonitor:
    load_balancer: str
    id: str


@dataclass(frozen=True)
class CreateFloatingIP:
    network: str
    subnet: str
    port: str
    description: str
    address: str = ""


@dataclass(frozen=True)
class AssociateFloatingIP:
    """To no port, when that is empty."""

    id: str
    port: str


@dataclass(frozen=True)
class ReleaseFloatingIP:
    """Keep it in the project, as nobody's."""

    id: str


@dataclass(frozen=True)
class HandOverFloatingIP:
    """Say that it is another Service's, nobody's when the description is empty."""

    id: str
    description: str


@dataclass(frozen=True)
class DeleteFloatingIP:
    id: str


@dataclass(frozen=True)
class CreateRule:
    wanted: SecurityGroupRule


@dataclass(frozen=True)
class DeleteRule:
    id: str


# In Octavia, of a load balancer that must not be PENDING then.
LoadBalancerStep = (
    DeleteLoadBalancer
    | SetTags
    | CreateListener
    | UpdateListener
    | DeleteListener
    | CreatePool
    | UpdatePool
    | DeletePool
    | SetMembers
    | CreateHealthMonitor
    | UpdateHealthMonitor
    | DeleteHealthMonitor
)
# In Neutron.
NetworkStep = (
    CreateFloatingIP
    | AssociateFloatingIP
    | ReleaseFloatingIP
    | HandOverFloatingIP
    | DeleteFloatingIP
    | CreateRule
    | DeleteRule
)
Step = CreateLoadBalancer | LoadBalancerStep | NetworkStep
