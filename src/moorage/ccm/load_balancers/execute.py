"""Execute steps in the cloud. The process may die after any call; the next plan starts from what is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moorage.ccm.load_balancers.steps import (
    AssociateFloatingIP,
    CreateFloatingIP,
    CreateHealthMonitor,
    CreateListener,
    CreateLoadBalancer,
    CreatePool,
    CreateRule,
    DeleteFloatingIP,
    DeleteHealthMonitor,
    DeleteListener,
    DeleteLoadBalancer,
    DeletePool,
    DeleteRule,
    HandOverFloatingIP,
    LoadBalancerStep,
    NetworkStep,
    ReleaseFloatingIP,
    SetMembers,
    SetTags,
    Step,
    UpdateHealthMonitor,
    UpdateListener,
    UpdatePool,
)
from moorage.cloud.load_balancers import ACTIVE, LoadBalancers, Member, Pool
from moorage.cloud.network import Network

TIMEOUT = 3.0  # seconds to wait for a load balancer between two changes, before other Services get the worker
PAUSE = 0.2  # seconds between two polls


class LoadBalancerPending(Exception):
    """The load balancer is still PENDING: try again later."""


@dataclass
class Executor:
    """`pause` sleeps for seconds; `clock` returns seconds."""

    load_balancers: LoadBalancers
    network: Network
    pause: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def execute(self, steps: Iterable[Step]) -> None:
        """LoadBalancerPending when a load balancer stays PENDING; else the errors of the ports."""
        for step in steps:
            match step:
                case CreateLoadBalancer(wanted):
                    self.load_balancers.create(wanted)
                case _ if isinstance(step, NetworkStep):
                    self._execute_network(step)
                case _:
                    self._execute_load_balancer(step)

    def replace_members(self, load_balancer: str, wanted: Iterable[tuple[str, Iterable[Member]]]) -> None:
        """Replace the members of pools.

        The load balancer was ACTIVE at the last read, so the first change does not poll it.
        """
        for number, (pool, members) in enumerate(wanted):
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
            case HandOverFloatingIP(id, description):
                self.network.set_floating_ip_description(id, description)
            case DeleteFloatingIP(id):
                self.network.delete_floating_ip(id)
            case CreateRule(wanted):
                self.network.create_rule(wanted)
            case DeleteRule(id):
                self.network.delete_rule(id)

    def _execute_load_balancer(self, step: LoadBalancerStep) -> None:  # noqa: C901 - a table of steps
        do = self.load_balancers
        match step:
            case DeleteLoadBalancer(load_balancer):
                do.delete(load_balancer)
                return
            case _:
                self._wait_until_active(step.load_balancer)
        match step:
            case SetTags(load_balancer, tags):
                do.set_tags(load_balancer, tags)
            case CreateListener(load_balancer, wanted):
                id = do.create_listener(load_balancer, wanted)
                if wanted.pool:
                    self._create_pool(load_balancer, id, wanted.pool)
            case UpdateListener(_, id, wanted):
                do.update_listener(id, wanted)
            case DeleteListener(load_balancer, id, pool):
                if pool:
                    do.delete_pool(pool)
                    self._wait_until_active(load_balancer)
                do.delete_listener(id)
            case CreatePool(load_balancer, listener, pool_wanted):
                self._create_pool(load_balancer, listener, pool_wanted)
            case UpdatePool(_, id, pool_wanted):
                do.update_pool(id, pool_wanted)
            case DeletePool(_, id):
                do.delete_pool(id)
            case SetMembers(_, pool, members):
                do.set_members(pool, members)
            case CreateHealthMonitor(_, pool, monitor):
                do.create_health_monitor(pool, monitor)
            case UpdateHealthMonitor(_, id, monitor):
                do.update_health_monitor(id, monitor)
            case DeleteHealthMonitor(_, id):
                do.delete_health_monitor(id)

    def _create_pool(self, load_balancer: str, listener: str, wanted: Pool) -> None:
        self._wait_until_active(load_balancer)
        pool = self.load_balancers.create_pool(listener, wanted)
        if wanted.members:
            self._wait_until_active(load_balancer)
            self.load_balancers.set_members(pool, wanted.members)
        if wanted.monitor:
            self._wait_until_active(load_balancer)
            self.load_balancers.create_health_monitor(pool, wanted.monitor)

    def _wait_until_active(self, load_balancer: str) -> None:
        ends = self.clock() + TIMEOUT
        while (status := self.load_balancers.status(load_balancer)) != ACTIVE:
            if not status.startswith("PENDING") or self.clock() >= ends:
                raise LoadBalancerPending(f"the load balancer {load_balancer} is {status or 'gone'}")
            self.pause(PAUSE)
