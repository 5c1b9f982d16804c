"""The steps of a plan. Each is one action in the cloud, on objects given by their ids."""

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
    """With its pool, which would otherwise remain."""

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
    """All members of a pool in one call, however many are new."""

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
    """With no port when that is empty."""

    id: str
    port: str


@dataclass(frozen=True)
class ReleaseFloatingIP:
    """Keep it in the project, without an owner."""

    id: str


@dataclass(frozen=True)
class HandOverFloatingIP:
    """Give it to another Service, or to none when the description is empty."""

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


# Steps in Octavia, on a load balancer that must not be PENDING.
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
# Steps in Neutron.
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
