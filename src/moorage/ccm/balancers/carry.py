"""Carries out steps in the cloud. Any of the calls may be the last before we die: the next plan goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moorage.ccm.balancers.steps import (
    AddListener,
    AddMonitor,
    AddPool,
    AddRule,
    ChangeListener,
    ChangeMonitor,
    ChangePool,
    CreateBalancer,
    HandFloating,
    Inside,
    MakeFloating,
    MapFloating,
    Outside,
    ReleaseFloating,
    RemoveBalancer,
    RemoveFloating,
    RemoveListener,
    RemoveMonitor,
    RemovePool,
    RemoveRule,
    Retag,
    SetMembers,
    Step,
)
from moorage.cloud.balancers import ACTIVE, Balancers, Member, Pool
from moorage.cloud.fronts import Fronts

PATIENCE = 3.0  # seconds to wait for a load balancer between two changes of it; then others get their turn
PAUSE = 0.2  # seconds between two looks


class Busy(Exception):
    """The load balancer is still PENDING: come back."""


@dataclass
class Hands:
    """`pause` sleeps for seconds; `clock` gives seconds."""

    balancers: Balancers
    fronts: Fronts
    pause: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def carry_out(self, steps: Iterable[Step]) -> None:
        """Busy when a load balancer takes its time; else what the ports raise."""
        for step in steps:
            match step:
                case CreateBalancer(wanted):
                    self.balancers.create(wanted)
                case _ if isinstance(step, Outside):
                    self._outside(step)
                case _:
                    self._inside(step)

    def swap_members(self, balancer: str, wanted: Iterable[tuple[str, Iterable[Member]]]) -> None:
        """Of pools of a load balancer that was ACTIVE when it was last looked at: the first is not asked about."""
        for number, (pool, members) in enumerate(wanted):
            if number:
                self._settled(balancer)
            self.balancers.set_members(pool, members)

    def _outside(self, step: Outside) -> None:
        match step:
            case MakeFloating(network, subnet, port, description, address):
                self.fronts.create_floating(network, subnet, port, description, address)
            case MapFloating(id, port):
                self.fronts.map_floating(id, port)
            case ReleaseFloating(id):
                self.fronts.map_floating(id, "")
                self.fronts.describe_floating(id, "")
            case HandFloating(id, description):
                self.fronts.describe_floating(id, description)
            case RemoveFloating(id):
                self.fronts.delete_floating(id)
            case AddRule(wanted):
                self.fronts.create_rule(wanted)
            case RemoveRule(id):
                self.fronts.delete_rule(id)

    def _inside(self, step: Inside) -> None:  # noqa: C901 - a table of steps
        do = self.balancers
        match step:
            case RemoveBalancer(balancer):
                do.delete(balancer)
                return
            case _:
                self._settled(step.balancer)
        match step:
            case Retag(balancer, tags):
                do.retag(balancer, tags)
            case AddListener(balancer, wanted):
                id = do.create_listener(balancer, wanted)
                if wanted.pool:
                    self._add_pool(balancer, id, wanted.pool)
            case ChangeListener(_, id, wanted):
                do.update_listener(id, wanted)
            case RemoveListener(balancer, id, pool):
                if pool:
                    do.delete_pool(pool)
                    self._settled(balancer)
                do.delete_listener(id)
            case AddPool(balancer, listener, pool_wanted):
                self._add_pool(balancer, listener, pool_wanted)
            case ChangePool(_, id, pool_wanted):
                do.update_pool(id, pool_wanted)
            case RemovePool(_, id):
                do.delete_pool(id)
            case SetMembers(_, pool, members):
                do.set_members(pool, members)
            case AddMonitor(_, pool, monitor):
                do.create_monitor(pool, monitor)
            case ChangeMonitor(_, id, monitor):
                do.update_monitor(id, monitor)
            case RemoveMonitor(_, id):
                do.delete_monitor(id)

    def _add_pool(self, balancer: str, listener: str, wanted: Pool) -> None:
        self._settled(balancer)
        pool = self.balancers.create_pool(listener, wanted)
        if wanted.members:
            self._settled(balancer)
            self.balancers.set_members(pool, wanted.members)
        if wanted.monitor:
            self._settled(balancer)
            self.balancers.create_monitor(pool, wanted.monitor)

    def _settled(self, balancer: str) -> None:
        ends = self.clock() + PATIENCE
        while (status := self.balancers.status(balancer)) != ACTIVE:
            if not status.startswith("PENDING") or self.clock() >= ends:
                raise Busy(f"the load balancer {balancer} is {status or 'gone'}")
            self.pause(PAUSE)
