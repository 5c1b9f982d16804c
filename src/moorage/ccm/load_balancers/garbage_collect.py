"""Deletes the resources of deleted Services of this cluster, and finds load balancers that need reconciliation.

It identifies resources by tag or description. It never touches resources of another cluster or of users.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from moorage.ccm.load_balancers.execute import (
    DeleteFloatingIP,
    DeleteLoadBalancer,
    DeleteRule,
    Executor,
    LoadBalancerPending,
    ReleaseFloatingIP,
    Step,
)
from moorage.ccm.load_balancers.names import ServiceRef, described_service_key
from moorage.ccm.load_balancers.plan import plan_detach
from moorage.ccm.load_balancers.reconcile import LoadBalancerReconciler
from moorage.ccm.load_balancers.views import Service, parse_service
from moorage.cloud.port.load_balancers import ERROR, LoadBalancer, LoadBalancers
from moorage.cloud.port.network import FloatingIP, Network, SecurityGroupRule
from moorage.kube.port import SERVICES, KubernetesClient, Resource
from moorage.model.errors import Conflict, NotFound
from moorage.model.ownership import SERVICE_PREFIX, cluster_tag, described_kept, service_named

PERIOD = 60.0  # seconds between two collections, each of three calls

log = logging.getLogger(__name__)
ServiceExists = Callable[[str], bool]


@dataclass(frozen=True)
class OwnedObjects:
    """The load balancers of a cluster, and all floating IPs and rules that may be the cluster's."""

    cluster: str
    load_balancers: tuple[LoadBalancer, ...]
    floating_ips: tuple[FloatingIP, ...]
    rules: tuple[SecurityGroupRule, ...]


def list_owned(cluster: str, load_balancers: LoadBalancers, network: Network, group: str) -> OwnedObjects:
    """Lists load balancers without their listeners, in three calls. `group` may be empty if it no longer exists."""
    tagged = tuple(load_balancers.tagged(cluster_tag(cluster)))
    return OwnedObjects(cluster, tagged, tuple(network.floating_ips()), tuple(network.rules(group)) if group else ())


def plan_garbage_collection(owned: OwnedObjects, exists: ServiceExists) -> Iterator[Step]:
    """Steps that delete the resources of missing Services. `exists` takes `namespace/name` of a Service. Pure."""
    kept = {
        load_balancer.port for load_balancer in owned.load_balancers if _is_in_use(load_balancer, owned.cluster, exists)
    }
    for floating_ip in owned.floating_ips:
        key = described_service_key(floating_ip.description, owned.cluster)
        if _is_orphaned(key, exists) and floating_ip.port not in kept:
            yield (ReleaseFloatingIP if described_kept(floating_ip.description) else DeleteFloatingIP)(floating_ip.id)
    for load_balancer in owned.load_balancers:
        if load_balancer.port in kept:
            yield from _plan_detach_orphans(load_balancer, owned.cluster, exists)
        else:
            yield DeleteLoadBalancer(load_balancer.id)
    for rule in owned.rules:
        if _is_orphaned(described_service_key(rule.description, owned.cluster), exists):
            yield DeleteRule(rule.id)


def _is_orphaned(key: str | None, exists: ServiceExists) -> bool:
    return key is not None and not exists(key)


def _is_in_use(load_balancer: LoadBalancer, cluster: str, exists: ServiceExists) -> bool:
    """Whether it serves an existing Service, or a Service of another cluster, which cannot be checked."""
    return any(
        _may_exist(tag, cluster, exists)
        for tag in (*load_balancer.tags, load_balancer.name)
        if tag.startswith(SERVICE_PREFIX)
    )


def _may_exist(tag: str, cluster: str, exists: ServiceExists) -> bool:
    key = service_named(tag, cluster)
    return key is None or exists(key)


def _plan_detach_orphans(load_balancer: LoadBalancer, cluster: str, exists: ServiceExists) -> Iterator[Step]:
    for tag in load_balancer.tags:
        key = service_named(tag, cluster)
        if key is not None and not exists(key):
            yield from plan_detach(ServiceRef(cluster, *key.split("/")), load_balancer)


@dataclass
class OrphanCollector:
    """Runs once a minute. It also wakes the reconciler for load balancers that are in ERROR or were deleted."""

    reconciler: LoadBalancerReconciler
    api: KubernetesClient
    executor: Executor
    wake: Callable[[str], None]
    name: str = "load-balancer-sweep"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)

    def reconcile(self, key: str) -> float | None:
        """Raises CloudUnreachable when a service does not answer; it deletes nothing then."""
        reconciler = self.reconciler
        owned = list_owned(
            reconciler.settings.cluster, reconciler.load_balancers, reconciler.network, reconciler.settings.group
        )
        self._wake_unhealthy(owned.load_balancers)
        for step in list(plan_garbage_collection(self._with_listeners(owned), self._exists)):
            log.info("deleting a resource of a Service that does not exist: %s", step)
            self._execute(step)
        return PERIOD

    def _with_listeners(self, owned: OwnedObjects) -> OwnedObjects:
        """Adds the listeners of those load balancers that have a missing Service: only they are needed."""
        trees = []
        for load_balancer in owned.load_balancers:
            keys = [service_named(tag, owned.cluster) for tag in load_balancer.tags]
            orphaned = any(_is_orphaned(key, self._exists) for key in keys)
            tree = self.reconciler.load_balancers.get(load_balancer.id) if orphaned else None
            trees.append(tree or load_balancer)
        return OwnedObjects(owned.cluster, tuple(trees), owned.floating_ips, owned.rules)

    def _exists(self, key: str) -> bool:
        """Checks the cache, and the API too before anything is deleted, because the cache may lag."""
        service = self.reconciler.services.get(key) or self.api.get(SERVICES, key)
        return service is not None and _is_managed(parse_service(service))

    def _wake_unhealthy(self, load_balancers: Iterable[LoadBalancer]) -> None:
        healthy_tags = {
            tag
            for load_balancer in load_balancers
            if load_balancer.provisioning_status != ERROR
            for tag in load_balancer.tags
        }
        for key in self.reconciler.applied_keys():
            namespace, _, name = key.partition("/")
            if ServiceRef(self.reconciler.settings.cluster, namespace, name).tag not in healthy_tags:
                self.reconciler.forget(key)
                self.wake(key)

    def _execute(self, step: Step) -> None:
        try:
            self.executor.execute([step])
        except (LoadBalancerPending, Conflict, NotFound) as error:
            log.info("postponed to the next collection: %s", error)


def _is_managed(service: Service) -> bool:
    return service.needs_load_balancer or service.has_finalizer
