"""Garbage-collect resources of deleted Services, and find load balancers that the reconciler must check.

It never touches resources of other clusters or without an owner: tags and descriptions identify all of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from moorage.ccm.load_balancers.execute import Executor, LoadBalancerPending
from moorage.ccm.load_balancers.names import ServiceRef, service_of
from moorage.ccm.load_balancers.plan import plan_leave
from moorage.ccm.load_balancers.reconcile import LoadBalancerReconciler
from moorage.ccm.load_balancers.steps import DeleteFloatingIP, DeleteLoadBalancer, DeleteRule, ReleaseFloatingIP, Step
from moorage.ccm.load_balancers.views import Service
from moorage.ccm.load_balancers.views import service_of as view_of
from moorage.cloud.load_balancers import ERROR, LoadBalancer, LoadBalancers
from moorage.cloud.network import FloatingIP, Network, SecurityGroupRule
from moorage.kube.objects import SERVICES, KubernetesClient, Resource
from moorage.model.errors import Conflict, NotFound
from moorage.model.ownership import SERVICE_PREFIX, cluster_tag, described_kept, service_named

PERIOD = 60.0  # seconds between two runs: three calls

log = logging.getLogger(__name__)
ServiceExists = Callable[[str], bool]


@dataclass(frozen=True)
class OwnedObjects:
    """A cluster's load balancers, and all floating IPs and rules that may be its own."""

    cluster: str
    load_balancers: tuple[LoadBalancer, ...]
    floating: tuple[FloatingIP, ...]
    rules: tuple[SecurityGroupRule, ...]


def list_owned(cluster: str, load_balancers: LoadBalancers, network: Network, group: str) -> OwnedObjects:
    """List them, the load balancers without listeners: three calls. `group` may be empty when it is deleted."""
    found = tuple(load_balancers.tagged(cluster_tag(cluster)))
    return OwnedObjects(cluster, found, tuple(network.floating_ips()), tuple(network.rules(group)) if group else ())


def plan_garbage_collection(owned: OwnedObjects, exists: ServiceExists) -> Iterator[Step]:
    """Steps that delete what belongs to no Service; `exists` tests for a Service by `namespace/name`. Pure."""
    kept = {
        load_balancer.port for load_balancer in owned.load_balancers if _in_use(load_balancer, owned.cluster, exists)
    }
    for floating in owned.floating:
        if _is_orphaned(service_of(floating.description, owned.cluster), exists) and floating.port not in kept:
            yield (ReleaseFloatingIP if described_kept(floating.description) else DeleteFloatingIP)(floating.id)
    for load_balancer in owned.load_balancers:
        if load_balancer.port in kept:
            yield from _plan_partial(load_balancer, owned.cluster, exists)
        else:
            yield DeleteLoadBalancer(load_balancer.id)
    for rule in owned.rules:
        if _is_orphaned(service_of(rule.description, owned.cluster), exists):
            yield DeleteRule(rule.id)


def _is_orphaned(key: str | None, exists: ServiceExists) -> bool:
    return key is not None and not exists(key)


def _in_use(load_balancer: LoadBalancer, cluster: str, exists: ServiceExists) -> bool:
    """Whether it serves an existing Service, or one of another cluster, about which we know nothing."""
    return any(
        _exists(tag, cluster, exists)
        for tag in (*load_balancer.tags, load_balancer.name)
        if tag.startswith(SERVICE_PREFIX)
    )


def _exists(tag: str, cluster: str, exists: ServiceExists) -> bool:
    key = service_named(tag, cluster)
    return key is None or exists(key)


def _plan_partial(load_balancer: LoadBalancer, cluster: str, exists: ServiceExists) -> Iterator[Step]:
    for tag in load_balancer.tags:
        key = service_named(tag, cluster)
        if key is not None and not exists(key):
            yield from plan_leave(ServiceRef(cluster, *key.split("/")), load_balancer)


@dataclass
class OrphanCollector:
    """Runs once a minute; also wakes the reconciler for load balancers that failed or were deleted by a user."""

    reconciler: LoadBalancerReconciler
    api: KubernetesClient
    executor: Executor
    wake: Callable[[str], None]
    name: str = "load-balancer-sweep"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)

    def reconcile(self, key: str) -> float | None:
        """CloudUnreachable when the cloud does not answer: then nothing is deleted."""
        reconciler = self.reconciler
        owned = list_owned(
            reconciler.settings.cluster, reconciler.load_balancers, reconciler.network, reconciler.settings.group
        )
        self._wake(owned.load_balancers)
        for step in list(plan_garbage_collection(self._with_listeners(owned), self._exists)):
            log.info("deleting a resource of a deleted Service: %s", step)
            self._execute(step)
        return PERIOD

    def _with_listeners(self, owned: OwnedObjects) -> OwnedObjects:
        """With the listeners of load balancers with deleted Services; others do not need them."""
        trees = []
        for load_balancer in owned.load_balancers:
            gone = any(_is_orphaned(service_named(tag, owned.cluster), self._exists) for tag in load_balancer.tags)
            trees.append((self.reconciler.load_balancers.tree(load_balancer.id) if gone else None) or load_balancer)
        return OwnedObjects(owned.cluster, tuple(trees), owned.floating, owned.rules)

    def _exists(self, key: str) -> bool:
        """The informer may lag, so the API is asked before anything is deleted."""
        found = self.reconciler.services.get(key) or self.api.get(SERVICES, key)
        return found is not None and _is_managed(view_of(found))

    def _wake(self, load_balancers: Iterable[LoadBalancer]) -> None:
        fine = {
            tag
            for load_balancer in load_balancers
            if load_balancer.provisioning_status != ERROR
            for tag in load_balancer.tags
        }
        for key in self.reconciler.applied():
            namespace, _, name = key.partition("/")
            if ServiceRef(self.reconciler.settings.cluster, namespace, name).tag not in fine:
                self.reconciler.forget(key)
                self.wake(key)

    def _execute(self, step: Step) -> None:
        try:
            self.executor.execute([step])
        except (LoadBalancerPending, Conflict, NotFound) as error:
            log.info("deferred to the next run: %s", error)


def _is_managed(service: Service) -> bool:
    return service.wanted or service.held
