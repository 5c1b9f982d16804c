"""Find the resources that a cluster owns in its cloud: a few requests, all in parallel."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.load_balancers import LoadBalancer, LoadBalancers
from moorage.cloud.port.volumes import CinderVolume, Volumes
from moorage.clusters.owned.resources import ObservedResources, snapshots_of
from moorage.model.errors import BadInput, Failed, NotFound
from moorage.model.ownership import CLUSTER_MARK, cluster_tag, serving_tag

T = TypeVar("T")


def observe(cloud: Cloud, cluster: str, *, stackless: bool) -> ObservedResources:
    """CloudUnreachable when a service does not answer; services that the cloud does not have are skipped."""
    load_balancers, volumes = cloud.load_balancers, cloud.volumes
    with ThreadPoolExecutor(6) as at_once:
        servers = at_once.submit(cloud.servers.list, cluster)
        floating = at_once.submit(cloud.network.floating_ips)
        own = at_once.submit(_own, load_balancers, cluster) if load_balancers else None
        shared = at_once.submit(_shared, load_balancers, cluster) if load_balancers else None
        stored = at_once.submit(_stored, volumes, cluster) if volumes else None
        snapshots = at_once.submit(volumes.snapshots) if volumes else None
        observed = ObservedResources(
            cluster,
            stackless,
            servers=_answer(servers),
            load_balancers=_answer(own),
            shared=_answer(shared),
            floating=_answer(floating),
            volumes=_answer(stored),
            snapshots=_answer(snapshots),
        )
    return _add_details(observed, volumes) if volumes else observed


def _answer(asked: Future[list[T]] | None) -> tuple[T, ...]:
    return tuple(asked.result()) if asked else ()


def _own(load_balancers: LoadBalancers, cluster: str) -> list[LoadBalancer]:
    """Empty for users who may not list any, as on clouds where load balancers need a role of their own."""
    with suppress(BadInput):
        return load_balancers.tagged(cluster_tag(cluster))
    return []


def _shared(load_balancers: LoadBalancers, cluster: str) -> list[LoadBalancer]:
    """Load balancers that were not created for the cluster and have its ports, with their listeners."""
    with suppress(BadInput):
        found = [
            held.id for held in load_balancers.tagged(serving_tag(cluster)) if cluster_tag(cluster) not in held.tags
        ]
        return [tree for id in found if (tree := load_balancers.get(id)) is not None]
    return []


def _stored(volumes: Volumes, cluster: str) -> list[CinderVolume]:
    return [volume for volume in volumes.list() if volume.metadata.get(CLUSTER_MARK) == cluster]


def _add_details(observed: ObservedResources, volumes: Volumes) -> ObservedResources:
    """Add what takes a request each: which servers with volumes are deleted, and why a volume or snapshot failed."""
    here = {server.id for server in observed.servers}
    unreachable = {held.server for volume in observed.volumes for held in volume.attachments} - here
    failed = [resource.id for resource in snapshots_of(observed) if resource.status.startswith("error")]
    failed += [resource.id for resource in observed.volumes if resource.status.startswith("error")]
    return replace(
        observed,
        missing_servers=frozenset(server for server in sorted(unreachable) if volumes.attached(server) is None),
        messages={id: _message_of(volumes, id) for id in failed},
    )


def _message_of(volumes: Volumes, id: str) -> str:
    """A cloud without user messages must not hide the failure itself."""
    with suppress(NotFound, BadInput, Failed):
        return volumes.last_message(id)
    return ""
