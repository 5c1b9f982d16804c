"""The resources that a cluster owns, and the actions that delete them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from moorage.cloud.port.load_balancers import LoadBalancer
from moorage.cloud.port.network import FloatingIP
from moorage.cloud.port.servers import Server
from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume
from moorage.model.cluster import OwnedResource
from moorage.model.ownership import CLUSTER_MARK

MAX_REQUESTS = 5  # requests to delete one resource before it is reported as blocked


@dataclass(frozen=True)
class ObservedResources:
    """What a cluster owns beside its stack, as observed. `stackless` is whether Heat no longer has its stack.

    `load_balancers` were created for the cluster; `shared` are other load balancers with ports of its Services, their
    listeners included. `floating` and `snapshots` are all of the project, `volumes` those of the cluster.
    `missing_servers` are the ids of deleted servers to which a volume is still attached; `messages` are Cinder's, by
    the id of the volume or snapshot that failed.
    """

    cluster: str
    stackless: bool = False
    servers: tuple[Server, ...] = ()
    load_balancers: tuple[LoadBalancer, ...] = ()
    shared: tuple[LoadBalancer, ...] = ()
    floating: tuple[FloatingIP, ...] = ()
    volumes: tuple[CinderVolume, ...] = ()
    snapshots: tuple[CinderSnapshot, ...] = ()
    missing_servers: frozenset[str] = frozenset()
    messages: Mapping[str, str] = field(default_factory=dict)


def snapshots_of(observed: ObservedResources) -> list[CinderSnapshot]:
    """The cluster's snapshots. Snapshots of others matter only for the volumes that they need."""
    return [snapshot for snapshot in observed.snapshots if snapshot.metadata.get(CLUSTER_MARK) == observed.cluster]


@dataclass(frozen=True)
class Deletion:
    """One request to the cloud: the resource's id, and a message for the user."""

    id: str
    text: str


class DeleteServer(Deletion):
    """Through Nova, not Heat: before the stack is deleted, so that the server creates nothing, or when Heat does not
    know it.
    """


class DeleteLoadBalancer(Deletion):
    """With its listeners, pools and members."""


class DeletePool(Deletion):
    """From a load balancer that is not the cluster's; deleting its listener would keep it."""


class DeleteListener(Deletion):
    """From a load balancer that is not the cluster's."""


@dataclass(frozen=True)
class SetTags(Deletion):
    """Remove the cluster's tags from a load balancer."""

    tags: tuple[str, ...] = ()


class DeleteFloatingIP(Deletion):
    pass


class ReleaseFloatingIP(Deletion):
    """Keep it in the project, without an owner."""


class DeleteSnapshot(Deletion):
    pass


class DeleteVolume(Deletion):
    pass


class DeleteAttachment(Deletion):
    """Make Cinder release a volume from a deleted server."""


class KeepVolume(Deletion):
    """Mark a volume as kept, so that a later cluster of this name does not delete it."""


class KeepSnapshot(Deletion):
    """As for a volume."""


@dataclass(frozen=True)
class CleanupPlan:
    """What to delete now, what to wait for, what cannot be deleted; what is deleted in the end, and what is kept."""

    deletions: tuple[Deletion, ...] = ()
    waiting: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    deleted: tuple[OwnedResource, ...] = ()
    kept: tuple[OwnedResource, ...] = ()

    @property
    def done(self) -> bool:
        return not (self.deletions or self.waiting or self.blocked)


@dataclass(frozen=True)
class CleanupPreview:
    """All cleanup plans of a cluster, in the order of their execution.

    `retention` marks what is kept before anything is deleted. `network` has load balancers and floating IPs, without
    which the cluster's network cannot be deleted. `storage` can be deleted once the cluster's servers are gone.
    """

    retention: CleanupPlan = CleanupPlan()
    network: CleanupPlan = CleanupPlan()
    storage: CleanupPlan = CleanupPlan()

    @property
    def done(self) -> bool:
        return self.retention.done and self.network.done and self.storage.done

    @property
    def deleted(self) -> tuple[OwnedResource, ...]:
        return self.network.deleted + self.storage.deleted

    @property
    def kept(self) -> tuple[OwnedResource, ...]:
        return self.network.kept + self.retention.kept


def combine(given: Iterable[CleanupPlan]) -> CleanupPlan:
    parts = tuple(given)
    return CleanupPlan(
        deletions=tuple(act for part in parts for act in part.deletions),
        waiting=tuple(wait for part in parts for wait in part.waiting),
        blocked=tuple(text for part in parts for text in part.blocked),
        deleted=tuple(resource for part in parts for resource in part.deleted),
        kept=tuple(resource for part in parts for resource in part.kept),
    )
