"""The resources that a cluster owns, and the requests that delete them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from moorage.cloud.port.load_balancers import LoadBalancer
from moorage.cloud.port.network import FloatingIP
from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume
from moorage.model.cluster import OwnedResource
from moorage.model.ownership import CLUSTER_MARK

MAX_REQUESTS = 5  # requests to delete one resource before it is reported as blocked


@dataclass(frozen=True)
class BalancedResources:
    """Load balancers and floating IPs of a cluster's Services.

    `load_balancers` were created for the cluster; `shared` are other load balancers with ports of its Services, their
    listeners included. `floating` are all of the project.
    """

    cluster: str
    load_balancers: tuple[LoadBalancer, ...] = ()
    shared: tuple[LoadBalancer, ...] = ()
    floating: tuple[FloatingIP, ...] = ()


@dataclass(frozen=True)
class StoredResources:
    """A cluster's volumes and snapshots. `snapshots` are all of the project, `volumes` those of the cluster.

    `servers` are the names of the cluster's servers by id, `missing_servers` the ids of deleted servers to which a
    volume is still attached. `messages` are Cinder's, by the id of the volume or snapshot that failed.
    """

    cluster: str
    servers: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[CinderVolume, ...] = ()
    snapshots: tuple[CinderSnapshot, ...] = ()
    missing_servers: frozenset[str] = frozenset()
    messages: Mapping[str, str] = field(default_factory=dict)


def snapshots_of(observed: StoredResources) -> list[CinderSnapshot]:
    """The cluster's snapshots. Snapshots of others matter only for the volumes that they need."""
    return [snapshot for snapshot in observed.snapshots if snapshot.metadata.get(CLUSTER_MARK) == observed.cluster]


class Action(StrEnum):
    """What one request does."""

    DELETE_SERVER = "delete server"
    DELETE_LOAD_BALANCER = "delete load balancer"  # with its listeners, pools and members
    DELETE_POOL = "delete pool"  # deleting its listener would keep it
    DELETE_LISTENER = "delete listener"
    SET_TAGS = "set tags"  # of a load balancer
    DELETE_FLOATING_IP = "delete floating IP"
    RELEASE_FLOATING_IP = "release floating IP"  # keep it in the project, without an owner
    DETACH_PORT = "detach port"  # from its router
    DELETE_PORT = "delete port"
    REVOKE_CREDENTIAL = "revoke credential"
    DELETE_STACK = "delete stack"
    DELETE_NETWORK_RESOURCE = "delete network resource"
    DELETE_SNAPSHOT = "delete snapshot"
    DELETE_VOLUME = "delete volume"
    DELETE_ATTACHMENT = "delete attachment"  # of a volume to a deleted server
    KEEP_VOLUME = "keep volume"  # so that a later cluster of this name does not delete it
    KEEP_SNAPSHOT = "keep snapshot"


@dataclass(frozen=True)
class Deletion:
    """One request to the cloud, for the resource with this id, and a message for the user.

    `detail` is what the action needs beside the id: new tags, a port's router, a resource's kind, a stack's name.
    """

    action: Action
    id: str
    text: str
    detail: tuple[str, ...] = ()


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


def combine(given: Iterable[CleanupPlan]) -> CleanupPlan:
    parts = tuple(given)
    return CleanupPlan(
        deletions=tuple(act for part in parts for act in part.deletions),
        waiting=tuple(wait for part in parts for wait in part.waiting),
        blocked=tuple(text for part in parts for text in part.blocked),
        deleted=tuple(resource for part in parts for resource in part.deleted),
        kept=tuple(resource for part in parts for resource in part.kept),
    )
