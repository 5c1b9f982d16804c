"""The steps of a plan: each is one change in the cloud, with the ids of the resources that it changes."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.port.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.cloud.port.network import SecurityGroupRule


@dataclass(frozen=True)
class CreateLoadBalancer:
    desired: LoadBalancer


@dataclass(frozen=True)
class DeleteLoadBalancer:
    load_balancer: str


@dataclass(frozen=True)
class SetTags:
    load_balancer: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class CreateListener:
    """Creates it with its pool, members and monitor."""

    load_balancer: str
    desired: Listener


@dataclass(frozen=True)
class UpdateListener:
    load_balancer: str
    id: str
    desired: Listener


@dataclass(frozen=True)
class DeleteListener:
    """Deletes it with its pool, which Octavia would otherwise keep."""

    load_balancer: str
    id: str
    pool: str = ""


@dataclass(frozen=True)
class CreatePool:
    """Creates it with its members and monitor."""

    load_balancer: str
    listener: str
    desired: Pool


@dataclass(frozen=True)
class UpdatePool:
    load_balancer: str
    id: str
    desired: Pool


@dataclass(frozen=True)
class DeletePool:
    load_balancer: str
    id: str


@dataclass(frozen=True)
class SetMembers:
    """Sets all members of a pool in one call."""

    load_balancer: str
    pool: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class CreateHealthMonitor:
    load_balancer: str
    pool: str
    desired: HealthMonitor


@dataclass(frozen=True)
class UpdateHealthMonitor:
    load_balancer: str
    id: str
    desired: HealthMonitor


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
    """Maps it to a port, or unmaps it when `port` is empty."""

    id: str
    port: str


@dataclass(frozen=True)
class ReleaseFloatingIP:
    """Unmaps it and clears its description, but keeps it in the project."""

    id: str


@dataclass(frozen=True)
class SetFloatingIPDescription:
    """Assigns it to another Service by description, or to none when that is empty."""

    id: str
    description: str


@dataclass(frozen=True)
class DeleteFloatingIP:
    id: str


@dataclass(frozen=True)
class CreateRule:
    desired: SecurityGroupRule


@dataclass(frozen=True)
class DeleteRule:
    id: str


# Changes in Octavia, which need a load balancer that is not PENDING.
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
# Changes in Neutron.
NetworkStep = (
    CreateFloatingIP
    | AssociateFloatingIP
    | ReleaseFloatingIP
    | SetFloatingIPDescription
    | DeleteFloatingIP
    | CreateRule
    | DeleteRule
)
Step = CreateLoadBalancer | LoadBalancerStep | NetworkStep
