"""A cluster: its spec and its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

DEFAULT_GROUP = "workers"
CONTROL_PLANE = "control-plane"
MAX_COUNT = 1000  # nodes of a group
FIXED = ("flavor", "image", "labels", "taints", "zones")
"""The fields of a node group that are fixed in a revision: others need other nodes."""


@dataclass(frozen=True)
class Taint:
    """A taint of a Node; as text `key=value:effect`, or `key:effect`."""

    key: str
    effect: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True)
class NodeGroup:
    """A group of equal workers.

    An empty `flavor` or `image` is the cluster's. The nodes are in the availability `zones` in turn, and where Nova
    chooses without any. `count` must be in `min_count` to `max_count`. While nodes are upgraded, the group has at most
    `max_surge` more nodes, and at most `max_unavailable` less that are Ready.
    """

    name: str = DEFAULT_GROUP
    count: int = 2
    flavor: str = ""
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    zones: tuple[str, ...] = ()
    min_count: int = 0
    max_count: int = MAX_COUNT
    max_surge: int = 1
    max_unavailable: int = 0


@dataclass(frozen=True)
class ClusterSpec:
    """What the user requested. CIDRs are text as the user wrote it; `preflight` checks them.

    `image` None selects the newest Moorage image of the cloud. An empty `flavor` is the one that clouds.yaml names; an
    empty `external_network` that, or the cloud's only one. `registry_mirrors` maps a registry's host to the URL
    from which nodes pull instead. `cloud_provider` is "external", or "" for a cluster that does not use its cloud.
    """

    name: str
    groups: tuple[NodeGroup, ...] = (NodeGroup(),)
    control_plane_nodes: int = 1
    flavor: str = ""
    image: str | None = None
    external_network: str = ""
    node_cidr: str = "10.0.0.0/24"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    flannel_backend: str = "vxlan"
    node_port_cidr: str = ""
    dns_nameservers: tuple[str, ...] = ()
    registry_mirrors: Mapping[str, str] = field(default_factory=dict)
    cloud_provider: str = "external"

    @property
    def nodes(self) -> int:
        return self.control_plane_nodes + sum(group.count for group in self.groups)

    def group(self, name: str) -> NodeGroup | None:
        return next((group for group in self.groups if group.name == name), None)

    def with_group(self, group: NodeGroup) -> ClusterSpec:
        """With this group in place of the one of its name, or added."""
        others = [other for other in self.groups if other.name != group.name]
        return replace(self, groups=tuple(sorted([*others, group], key=lambda each: each.name)))


@dataclass(frozen=True)
class DrainOptions:
    """For how many seconds nodes may be drained; then `force` removes them anyway, else the run fails."""

    timeout: float = 300
    force: bool = False


class ClusterStatus(StrEnum):
    """A cluster's state in one word; `reason` says more."""

    CREATING = "creating"
    UPDATING = "updating"  # created, and Heat is changing a node group
    READY = "ready"
    DEGRADED = "degraded"  # created, but a node or the cluster's DNS is not ready
    UNKNOWN = "unknown"  # created, but this machine could not ask Kubernetes
    DELETING = "deleting"
    FAILED = "failed"


@dataclass(frozen=True)
class Node:
    """A node in the cloud and in Kubernetes; `ready` is None when Kubernetes was not asked or has no such Node."""

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
    """A resource that a cluster created in its cloud: a "load balancer", "floating IP", "volume" or "snapshot".

    `size` in GiB. `claim` is `namespace/name` of the Kubernetes object that it was created for, empty when unknown.
    `why` is the reason why it is kept when its cluster is deleted; it is empty when it is deleted too.
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
        text = f"{self.kind} {self.name}" + (f" ({', '.join(about)})" if about else "")
        return f"{text}: {self.why}" if self.why else text


@dataclass(frozen=True)
class DeletionResult:
    """What the deletion of a cluster did, and the resources that it kept."""

    progress: tuple[Progress, ...] = ()
    kept: tuple[OwnedResource, ...] = ()


@dataclass(frozen=True)
class Progress:
    """One step of a run: seconds since the run's start, and what was done or waited for."""

    seconds: float
    text: str


@dataclass(frozen=True)
class ClusterEvent:
    """Something that happened to a cluster, as an Event of Kubernetes: a `reason` in CamelCase, a `message` that says
    why and what to do. `time` in UTC, as in 2026-01-02T03:04:05Z; `object` is the name of a stack, node or server.
    """

    time: str
    reason: str
    object: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Cluster:
    """A cluster's state. `reason` is empty when all is well; `spec` is None where only the stack was read, in lists."""

    name: str
    status: ClusterStatus
    reason: str = ""
    api_url: str = ""
    created_at: str = ""
    nodes: tuple[Node, ...] = ()
    progress: tuple[Progress, ...] = ()
    spec: ClusterSpec | None = None

    @property
    def groups(self) -> tuple[NodeGroup, ...]:
        return self.spec.groups if self.spec else ()
