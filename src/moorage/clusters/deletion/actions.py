"""Execute the requests of a deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.load_balancers import LoadBalancers
from moorage.cloud.port.network import NetworkResource
from moorage.cloud.port.stacks import Stack
from moorage.cloud.port.volumes import Volumes
from moorage.clusters.deletion.resources import Action, Deletion
from moorage.model.ownership import RECLAIM_MARK, RETAIN

MARK = {RECLAIM_MARK: RETAIN}
T = TypeVar("T")


def execute(cloud: Cloud, deletion: Deletion) -> None:
    """Send one request. Raises the errors of its port."""
    ACTIONS[deletion.action](cloud, deletion)


def _octavia(cloud: Cloud) -> LoadBalancers:
    return _present(cloud.load_balancers)


def _cinder(cloud: Cloud) -> Volumes:
    return _present(cloud.volumes)


def _present(port: T | None) -> T:
    assert port is not None, "the resource was found through this service"
    return port


def _release_floating_ip(cloud: Cloud, it: Deletion) -> None:
    cloud.network.associate_floating_ip(it.id, "")
    cloud.network.set_floating_ip_description(it.id, "")


def _delete_network_resource(cloud: Cloud, it: Deletion) -> None:
    cloud.network.delete(NetworkResource(it.detail[0], it.id))


ACTIONS: Mapping[Action, Callable[[Cloud, Deletion], None]] = {
    Action.DELETE_SERVER: lambda cloud, it: cloud.servers.delete(it.id),
    Action.DELETE_LOAD_BALANCER: lambda cloud, it: _octavia(cloud).delete(it.id),
    Action.DELETE_POOL: lambda cloud, it: _octavia(cloud).delete_pool(it.id),
    Action.DELETE_LISTENER: lambda cloud, it: _octavia(cloud).delete_listener(it.id),
    Action.SET_TAGS: lambda cloud, it: _octavia(cloud).set_tags(it.id, it.detail),
    Action.DELETE_FLOATING_IP: lambda cloud, it: cloud.network.delete_floating_ip(it.id),
    Action.RELEASE_FLOATING_IP: _release_floating_ip,
    Action.DETACH_PORT: lambda cloud, it: cloud.network.detach_port(it.id, it.detail[0]),
    Action.DELETE_PORT: lambda cloud, it: cloud.network.delete_port(it.id),
    Action.REVOKE_CREDENTIAL: lambda cloud, it: cloud.identity.delete_credential(it.id),
    Action.DELETE_STACK: lambda cloud, it: cloud.stacks.delete(Stack(it.id, it.detail[0], "")),
    Action.DELETE_NETWORK_RESOURCE: _delete_network_resource,
    Action.DELETE_SNAPSHOT: lambda cloud, it: _cinder(cloud).delete_snapshot(it.id),
    Action.DELETE_VOLUME: lambda cloud, it: _cinder(cloud).delete(it.id),
    Action.DELETE_ATTACHMENT: lambda cloud, it: _cinder(cloud).delete_attachment(it.id),
    Action.KEEP_VOLUME: lambda cloud, it: _cinder(cloud).set_metadata(it.id, MARK),
    Action.KEEP_SNAPSHOT: lambda cloud, it: _cinder(cloud).set_snapshot_metadata(it.id, MARK),
}
