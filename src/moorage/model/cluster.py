"""What a cluster is: what was asked for, and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class ClusterSpec:
    """What was asked for. CIDRs are text as the user gave it; `preflight` says whether they are good.

    `image` None means: the newest Moorage image of the cloud. `registry_mirrors` maps a registry's host to the URL
    that nodes pull from instead. `cloud_provider` is "external" or, for a cluster that takes nothing from its
    cloud, "".
    """

    name: str
    workers: int = 2
    control_plane_nodes: int = 1
    flavor: str = "m1.node"
    worker_flavor: str = ""
    image: str | None = None
    external_network: str = "public"
    node_cidr: str = "10.0.0.0/24"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    flannel_backend: str = "vxlan"
    node_port_cidr: str = ""
    dns_nameservers: tuple[str, ...] = ()
    registry_mirrors: Mapping[str, str] = field(default_factory=dict)
    cloud_provider: str = "external"

    @property
    def flavor_of_workers(self) -> str:
        return self.worker_flavor or self.flavor

    @property
    def nodes(self) -> int:
        return self.control_plane_nodes + self.workers


class ClusterStatus(StrEnum):
    """A cluster's state in one word; the `reason` beside it says more."""

    CREATING = "creating"
    READY = "ready"
    DEGRADED = "degraded"  # made, but a node or the cluster's DNS is not well
    UNKNOWN = "unknown"  # made, but this machine could not ask Kubernetes
    DELETING = "deleting"
    FAILED = "failed"


@dataclass(frozen=True)
class Node:
    """A node as the cloud and Kubernetes see it; `ready` is None when Kubernetes was not asked or has no such node."""

    name: str
    role: str
    group: str
    server: str
    address: str = ""
    ready: bool | None = None
    version: str = ""
    reason: str = ""


@dataclass(frozen=True)
class OwnedResource:
    """What a cluster made in its cloud by itself: `kind` is "load balancer", "floating IP", "volume" or "snapshot".

    `size` in GiB; `claim` is `namespace/name` of the Kubernetes object that it was made for, empty where that is not
    known; `why` says why it stays when its cluster goes, and is empty when it goes too.
    """

    kind: str
    id: str
    name: str
    size: int | None = None
    claim: str = ""
    why: str = ""

    def __str__(self) -> str:
        about = [f"{self.size} GiB"] if self.size is not None else []
        about += [f"of {self.claim}"] if self.claim else []
        told = f"{self.kind} {self.name}" + (f" ({', '.join(about)})" if about else "")
        return f"{told}: {self.why}" if self.why else told


@dataclass(frozen=True)
class DeletionResult:
    """What was done to delete a cluster, and what of its own making is kept."""

    events: tuple[Event, ...] = ()
    kept: tuple[OwnedResource, ...] = ()


@dataclass(frozen=True)
class Event:
    """One step of a reconciliation: seconds since its start, and what was done or waited for."""

    seconds: float
    text: str


@dataclass(frozen=True)
class Cluster:
    """What is there. `reason` is empty when all is well."""

    name: str
    status: ClusterStatus
    reason: str = ""
    api_url: str = ""
    created_at: str = ""
    nodes: tuple[Node, ...] = ()
    events: tuple[Event, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
