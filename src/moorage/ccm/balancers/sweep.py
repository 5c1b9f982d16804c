"""Finds what was made for Services of this cluster that are no more, and load balancers that need a look.

What is of another cluster, or of nobody, is never touched: everything is known by tag or description.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from moorage.ccm.balancers.carry import Busy, Hands
from moorage.ccm.balancers.names import Whose, service_of
from moorage.ccm.balancers.plan import leave
from moorage.ccm.balancers.reconcile import BalancerReconciler
from moorage.ccm.balancers.steps import ReleaseFloating, RemoveBalancer, RemoveFloating, RemoveRule, Step
from moorage.ccm.balancers.views import Service
from moorage.ccm.balancers.views import service_of as view_of
from moorage.cloud.balancers import ERROR, Balancer, Balancers
from moorage.cloud.fronts import FloatingIP, Fronts, Rule
from moorage.kube.objects import SERVICES, Objects, Resource
from moorage.model.errors import Conflict, NotFound
from moorage.model.ownership import SERVICE_PREFIX, cluster_tag, described_kept, service_named

PERIOD = 60.0  # seconds between two looks: three calls

log = logging.getLogger(__name__)
Alive = Callable[[str], bool]


@dataclass(frozen=True)
class Made:
    """What the cloud has of a cluster: its load balancers, and all floating IPs and rules that may be of it."""

    cluster: str
    balancers: tuple[Balancer, ...]
    floating: tuple[FloatingIP, ...]
    rules: tuple[Rule, ...]


def made_of(cluster: str, balancers: Balancers, fronts: Fronts, group: str) -> Made:
    """Without what hangs on the load balancers; three calls. `group` may be empty where it is gone."""
    found = tuple(balancers.tagged(cluster_tag(cluster)))
    return Made(cluster, found, tuple(fronts.floating_ips()), tuple(fronts.rules(group)) if group else ())


def plan_sweep(made: Made, alive: Alive) -> Iterator[Step]:
    """Steps that take away what is of no Service; `alive` says whether one is there, by `namespace/name`. Pure."""
    kept = {balancer.port for balancer in made.balancers if _live(balancer, made.cluster, alive)}
    for floating in made.floating:
        if _dead(service_of(floating.description, made.cluster), alive) and floating.port not in kept:
            yield (ReleaseFloating if described_kept(floating.description) else RemoveFloating)(floating.id)
    for balancer in made.balancers:
        if balancer.port in kept:
            yield from _partly(balancer, made.cluster, alive)
        else:
            yield RemoveBalancer(balancer.id)
    for rule in made.rules:
        if _dead(service_of(rule.description, made.cluster), alive):
            yield RemoveRule(rule.id)


def _dead(key: str | None, alive: Alive) -> bool:
    return key is not None and not alive(key)


def _live(balancer: Balancer, cluster: str, alive: Alive) -> bool:
    """Whether it serves somebody: a Service that is there, or one of another cluster, of which we know nothing."""
    return any(_alive(tag, cluster, alive) for tag in (*balancer.tags, balancer.name) if tag.startswith(SERVICE_PREFIX))


def _alive(tag: str, cluster: str, alive: Alive) -> bool:
    key = service_named(tag, cluster)
    return key is None or alive(key)


def _partly(balancer: Balancer, cluster: str, alive: Alive) -> Iterator[Step]:
    for tag in balancer.tags:
        key = service_named(tag, cluster)
        if key is not None and not alive(key):
            yield from leave(Whose(cluster, *key.split("/")), balancer)


@dataclass
class BalancerSweep:
    """Looks once a minute; wakes the reconciler for load balancers that failed or were taken away by somebody."""

    reconciler: BalancerReconciler
    api: Objects
    hands: Hands
    wake: Callable[[str], None]
    name: str = "load-balancer-sweep"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)

    def reconcile(self, key: str) -> float | None:
        """CloudUnreachable when a cloud cannot be asked: nothing is taken away then."""
        known = self.reconciler
        made = made_of(known.settings.cluster, known.balancers, known.fronts, known.settings.group)
        self._wake(made.balancers)
        for step in list(plan_sweep(self._whole(made), self._alive)):
            log.info("taking away what is of no Service: %s", step)
            self._carry_out(step)
        return PERIOD

    def _whole(self, made: Made) -> Made:
        """With what hangs on load balancers of which some Service is gone: only then it matters."""
        trees = []
        for balancer in made.balancers:
            gone = any(_dead(service_named(tag, made.cluster), self._alive) for tag in balancer.tags)
            trees.append((self.reconciler.balancers.tree(balancer.id) if gone else None) or balancer)
        return Made(made.cluster, tuple(trees), made.floating, made.rules)

    def _alive(self, key: str) -> bool:
        """The cache may lag, so that the API has the last word before something is taken away."""
        found = self.reconciler.services.get(key) or self.api.get(SERVICES, key)
        return found is not None and _concerns(view_of(found))

    def _wake(self, balancers: Iterable[Balancer]) -> None:
        fine = {tag for balancer in balancers if balancer.provisioning != ERROR for tag in balancer.tags}
        for key in self.reconciler.reached():
            namespace, _, name = key.partition("/")
            if Whose(self.reconciler.settings.cluster, namespace, name).tag not in fine:
                self.reconciler.forget(key)
                self.wake(key)

    def _carry_out(self, step: Step) -> None:
        try:
            self.hands.carry_out([step])
        except (Busy, Conflict, NotFound) as error:
            log.info("left for the next time: %s", error)


def _concerns(service: Service) -> bool:
    return service.wanted or service.held
