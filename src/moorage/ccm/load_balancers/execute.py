"""The steps of a plan, and their execution in the cloud. Each step is one change, with the ids of what it changes.

The process may die after any call: the next plan continues from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moorage.cloud.port.load_balancers import ACTIVE, HealthMonitor, Listener, LoadBalancer, LoadBalancers, Member, Pool
from moorage.cloud.port.network import Network, SecurityGroupRule


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


TIMEOUT = 3.0  # seconds to wait for a load balancer between two changes; then the worker is free for other Services
PAUSE = 0.2  # seconds between two polls


class LoadBalancerPending(Exception):
    """The load balancer is still PENDING: retry later."""


@dataclass
class Executor:
    """`pause` sleeps for a number of seconds; `clock` returns seconds."""

    load_balancers: LoadBalancers
    network: Network
    pause: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def execute(self, steps: Iterable[Step]) -> None:
        """Raises LoadBalancerPending when a load balancer remains PENDING; otherwise raises what the ports raise."""
        for step in steps:
            match step:
                case CreateLoadBalancer(desired):
                    self.load_balancers.create(desired)
                case _ if isinstance(step, NetworkStep):
                    self._execute_network(step)
                case _:
                    self._execute_load_balancer(step)

    def replace_members(self, load_balancer: str, pools: Iterable[tuple[str, Iterable[Member]]]) -> None:
        """Sets the members of a load balancer's pools. It must be ACTIVE: that is not checked before the first call."""
        for number, (pool, members) in enumerate(pools):
            if number:
                self._wait_until_active(load_balancer)
            self.load_balancers.set_members(pool, members)

    def _execute_network(self, step: NetworkStep) -> None:
        match step:
            case CreateFloatingIP(network, subnet, port, description, address):
                self.network.create_floating_ip(network, subnet, port, description, address)
            case AssociateFloatingIP(id, port):
                self.network.associate_floating_ip(id, port)
            case ReleaseFloatingIP(id):
                self.network.associate_floating_ip(id, "")
                self.network.set_floating_ip_description(id, "")
            case SetFloatingIPDescription(id, description):
                self.network.set_floating_ip_description(id, description)
            case DeleteFloatingIP(id):
                self.network.delete_floating_ip(id)
            case CreateRule(desired):
                self.network.create_rule(desired)
            case DeleteRule(id):
                self.network.delete_rule(id)

    def _execute_load_balancer(self, step: LoadBalancerStep) -> None:  # noqa: C901 - one case for each step
        octavia = self.load_balancers
        match step:
            case DeleteLoadBalancer(load_balancer):
                octavia.delete(load_balancer)
                return
            case _:
                self._wait_until_active(step.load_balancer)
        match step:
            case SetTags(load_balancer, tags):
                octavia.set_tags(load_balancer, tags)
            case CreateListener(load_balancer, listener):
                id = octavia.create_listener(load_balancer, listener)
                if listener.pool:
                    self._create_pool(load_balancer, id, listener.pool)
            case UpdateListener(_, id, listener):
                octavia.update_listener(id, listener)
            case DeleteListener(load_balancer, id, pool_id):
                if pool_id:
                    octavia.delete_pool(pool_id)
                    self._wait_until_active(load_balancer)
                octavia.delete_listener(id)
            case CreatePool(load_balancer, listener_id, pool):
                self._create_pool(load_balancer, listener_id, pool)
            case UpdatePool(_, id, pool):
                octavia.update_pool(id, pool)
            case DeletePool(_, id):
                octavia.delete_pool(id)
            case SetMembers(_, pool_id, members):
                octavia.set_members(pool_id, members)
            case CreateHealthMonitor(_, pool_id, monitor):
                octavia.create_health_monitor(pool_id, monitor)
            case UpdateHealthMonitor(_, id, monitor):
                octavia.update_health_monitor(id, monitor)
            case DeleteHealthMonitor(_, id):
                octavia.delete_health_monitor(id)

    def _create_pool(self, load_balancer: str, listener_id: str, pool: Pool) -> None:
        self._wait_until_active(load_balancer)
        id = self.load_balancers.create_pool(listener_id, pool)
        if pool.members:
            self._wait_until_active(load_balancer)
            self.load_balancers.set_members(id, pool.members)
        if pool.monitor:
            self._wait_until_active(load_balancer)
            self.load_balancers.create_health_monitor(id, pool.monitor)

    def _wait_until_active(self, load_balancer: str) -> None:
        deadline = self.clock() + TIMEOUT
        while (status := self.load_balancers.status(load_balancer)) != ACTIVE:
            if not status.startswith("PENDING") or self.clock() >= deadline:
                raise LoadBalancerPending(f"the load balancer {load_balancer} is {status or 'deleted'}")
            self.pause(PAUSE)
