"""List the resources that a cluster owns in its cloud.

CloudUnreachable when a service does not answer; services that the cloud does not have are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.load_balancers import LoadBalancer, LoadBalancers
from moorage.cloud.port.network import Port
from moorage.cloud.port.servers import Server
from moorage.cloud.port.volumes import Volumes
from moorage.clusters.deletion.infrastructure import COMPUTE
from moorage.clusters.deletion.resources import BalancedResources, StoredResources, snapshots_of
from moorage.model.errors import BadInput, Failed, NotFound
from moorage.model.ownership import CLUSTER_MARK, cluster_tag, serving_tag

T = TypeVar("T")


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """The answers of these calls, made in parallel, in their order."""
    with ThreadPoolExecutor(8) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def balanced(cloud: Cloud, cluster: str) -> BalancedResources:
    floating = tuple(cloud.network.floating_ips())
    if (load_balancers := cloud.load_balancers) is None:
        return BalancedResources(cluster, floating=floating)
    return BalancedResources(
        cluster, tuple(_own(load_balancers, cluster)), tuple(_shared(load_balancers, cluster)), floating
    )


def stored(cloud: Cloud, cluster: str, servers: Iterable[Server]) -> StoredResources:
    """With what takes a request each: which servers with volumes are deleted, why a volume or snapshot failed."""
    if (cinder := cloud.volumes) is None:
        return StoredResources(cluster)
    volumes = tuple(volume for volume in cinder.list() if volume.metadata.get(CLUSTER_MARK) == cluster)
    snapshots = tuple(cinder.snapshots())
    found = StoredResources(cluster, {server.id: server.name for server in servers}, volumes, snapshots)
    holders = {held.server for volume in volumes for held in volume.attachments} - set(found.servers)
    failed = [snapshot.id for snapshot in snapshots_of(found) if snapshot.status.startswith("error")]
    failed += [volume.id for volume in volumes if volume.status.startswith("error")]
    return StoredResources(
        cluster,
        found.servers,
        volumes,
        snapshots,
        missing_servers=frozenset(server for server in sorted(holders) if cinder.attached(server) is None),
        messages={id: _message_of(cinder, id) for id in failed},
    )


def ports(cloud: Cloud, cluster: str) -> list[Port]:
    """The ports in the cluster's networks."""
    networks = [resource.id for resource in cloud.network.owned(cluster) if resource.kind == "network"]
    return cloud.network.ports(networks) if networks else []


def foreign_servers(cloud: Cloud, cluster: str, found: Iterable[Port]) -> dict[str, str]:
    """The names of servers that are not the cluster's and have one of these ports, by id."""
    devices = {port.device for port in found if port.owner.startswith(COMPUTE) and port.device}
    own = {server.id for server in cloud.servers.list(cluster)} if devices else set()
    servers = [server for device in sorted(devices - own) if (server := cloud.servers.get(device)) is not None]
    return {server.id: server.name for server in servers if server.metadata.get(CLUSTER_MARK) != cluster}


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


def _message_of(volumes: Volumes, id: str) -> str:
    """A cloud without user messages must not hide the failure itself."""
    with suppress(NotFound, BadInput, Failed):
        return volumes.last_message(id)
    return ""
