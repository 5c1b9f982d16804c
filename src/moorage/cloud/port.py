"""The port for OpenStack: stacks, servers, images, quotas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from moorage.cloud.load_balancers import LoadBalancers
from moorage.cloud.network import Network
from moorage.cloud.volumes import Volumes
from moorage.model.credential import Credential


@dataclass(frozen=True)
class Stack:
    """A Heat stack. `status` is Heat's, such as CREATE_IN_PROGRESS; the values of hidden parameters are asterisks."""

    id: str
    name: str
    status: str
    reason: str = ""
    created_at: str = ""
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StackResource:
    """A resource of a stack or of a nested stack; `path` is its location, outermost first."""

    path: tuple[str, ...]
    type: str
    status: str
    reason: str = ""
    physical_id: str = ""


@dataclass(frozen=True)
class StackRequest:
    """A request for a stack: `template` and `files` are HOT texts; the timeout is Heat's, in minutes."""

    name: str
    template: str
    files: Mapping[str, str]
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    timeout_minutes: int = 60


@dataclass(frozen=True)
class Server:
    """A Nova server; `fault` is Nova's message when its status is ERROR."""

    id: str
    name: str
    status: str
    metadata: Mapping[str, str]
    address: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Flavor:
    """`memory` in MB, `disk` in GB."""

    name: str
    id: str
    vcpus: int
    memory: int
    disk: int


@dataclass(frozen=True)
class Image:
    """`min_memory` in MB, `min_disk` in GB; `properties` are the image's own."""

    name: str
    id: str
    status: str
    created_at: str
    properties: Mapping[str, str]
    min_memory: int = 0
    min_disk: int = 0


@dataclass(frozen=True)
class Quota:
    """`limit` None means unlimited."""

    used: int
    limit: int | None

    @property
    def available(self) -> int | None:
        return None if self.limit is None else self.limit - self.used


class Cloud(Protocol):
    """One project of one cloud.

    Every call may raise CloudUnreachable (which service, which address, why). A read of an object that does not exist
    returns None or leaves it out; only `create_stack` raises Conflict. Calls may be repeated.
    """

    @property
    def project(self) -> str:
        """The project's id: the same for all its users, on any machine."""
        ...

    def create_credential(self, cluster: str) -> Credential:
        """Create an application credential for a cluster: restricted, for this project, with this user's roles except
        administrative ones.

        A new one at every call; BadInput when Keystone creates none for this user.
        """
        ...

    def delete_credentials(self, cluster: str, keep: str = "") -> None:
        """Revoke this user's credentials for the cluster, except the one with the id `keep`.

        Other users' are not visible.
        """
        ...

    @property
    def load_balancers(self) -> LoadBalancers | None:
        """The project's load balancers; None without Octavia in the catalog."""
        ...

    @property
    def network(self) -> Network: ...

    @property
    def volumes(self) -> Volumes | None:
        """The project's volumes; None without Cinder in the catalog."""
        ...

    def stack(self, name: str, *, outputs: bool = False) -> Stack | None:
        """The stack of that name or id, unless it is deleted. Outputs only on request, because they take time."""
        ...

    def stacks(self, tag: str) -> list[Stack]:
        """All stacks with that tag, without parameters and outputs."""
        ...

    def resources(self, stack: Stack) -> list[StackResource]:
        """All resources of a stack and of its nested stacks; empty when the stack does not exist."""
        ...

    def create_stack(self, request: StackRequest) -> None:
        """Request a stack, without waiting; Conflict when one of that name exists, BadInput when Heat rejects it."""
        ...

    def delete_stack(self, stack: Stack) -> None:
        """Request a stack's deletion, without waiting; does nothing when it does not exist."""
        ...

    def resume_stack(self, stack: Stack) -> None:
        """Update the stack without changes, so that Heat resumes it; does nothing when it does not exist or is busy.

        Living engines continue their work; the locks of dead engines are released.
        """
        ...

    def replace_resources(
        self, stack: Stack, paths: Iterable[tuple[str, ...]], parameters: Mapping[str, Any], reason: str
    ) -> None:
        """Make Heat recreate the resources with these paths and all that is nested in them, in whatever state they are.

        The stack's parameters get these values; others are kept. Does nothing when the stack does not exist or is busy.
        """
        ...

    def delete_orphans(self, cluster: str, ids: Iterable[str]) -> list[str]:
        """Delete resources of a cluster in deletion that Heat does not know. Returns what is still being deleted, as in
        "server a-0".

        A service that died in the middle leaves servers that only their metadata identify, network resources that only
        their description identifies and that are not among these ids, and ports on both kinds of networks: ports of
        routers, of deleted servers, and without an owner. Call it until it returns nothing and `leftovers` returns
        nothing.
        """
        ...

    def detach_subnet(self, router: str, subnet: str) -> None:
        """Detach a subnet from a router, both by id; does nothing when it is not attached."""
        ...

    def servers(self, cluster: str) -> list[Server]:
        """The servers with this cluster's metadata, by name."""
        ...

    def delete_server(self, id: str) -> None:
        """Request a server's deletion, without waiting; does nothing when it does not exist or is being deleted."""
        ...

    def leftovers(self, cluster: str, ids: Iterable[str]) -> list[str]:
        """What remains of a cluster, as in "port demo-nodes": its servers and network resources.

        Network resources are the cluster's by these ids, or by their description (`model.ownership.owned_by`).
        """
        ...

    def addresses(self) -> list[str]:
        """IP addresses at which nodes must reach the cloud itself; empty when the catalog has names only."""
        ...

    def flavors(self) -> list[Flavor]: ...

    def images(self) -> list[Image]: ...

    def upload_image(
        self, name: str, file: Path, *, min_disk: int, min_memory: int, properties: Mapping[str, str]
    ) -> None:
        """Create an image from a raw file (GB, MB). An interrupted upload leaves no incomplete image."""
        ...

    def external_networks(self) -> list[str]:
        """Names and ids of the networks with floating IPs."""
        ...

    def quotas(self) -> dict[str, Quota]:
        """By name: instances, cores, ram (MB), networks, ports, routers, security_groups, floating_ips."""
        ...
