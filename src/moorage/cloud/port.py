"""What Moorage needs of an OpenStack cloud."""

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
    """A Heat stack. `status` is Heat's, such as CREATE_IN_PROGRESS; hidden parameters come as stars."""

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
    """A resource of a stack or of a stack nested in it; `path` says where, outermost first."""

    path: tuple[str, ...]
    type: str
    status: str
    reason: str = ""
    physical_id: str = ""


@dataclass(frozen=True)
class StackRequest:
    """A stack to make: `template` and `files` are HOT texts; the timeout is Heat's, in minutes."""

    name: str
    template: str
    files: Mapping[str, str]
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    timeout_minutes: int = 60


@dataclass(frozen=True)
class Server:
    """A Nova server; `fault` is Nova's own word when it is in ERROR."""

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

    Every call may raise CloudUnreachable (which service, which address, why). What is asked for by name or id and
    does not exist is None or left out; Conflict is raised by `create_stack` only. Calls may be repeated.
    """

    @property
    def project(self) -> str:
        """Id of the project; the same for everybody who uses it, from any machine."""
        ...

    def create_credential(self, cluster: str) -> Credential:
        """Make an application credential for a cluster: restricted, for this project, with this user's roles but for
        those that administrate the cloud. A new one at every call; BadInput when Keystone makes none for whoever asks.
        """
        ...

    def delete_credentials(self, cluster: str, keep: str = "") -> None:
        """Revoke what this user has for the cluster, but for the one with the id `keep`; other users' are not seen."""
        ...

    @property
    def load_balancers(self) -> LoadBalancers | None:
        """The project's load balancers; None where the catalog has no Octavia."""
        ...

    @property
    def network(self) -> Network: ...

    @property
    def volumes(self) -> Volumes | None:
        """The project's volumes; None where the catalog has no Cinder."""
        ...

    def stack(self, name: str, *, outputs: bool = False) -> Stack | None:
        """The stack of that name (or id), deleted ones not counted; outputs only on request, they cost time."""
        ...

    def stacks(self, tag: str) -> list[Stack]:
        """All stacks with that tag, without parameters and outputs."""
        ...

    def resources(self, stack: Stack) -> list[StackResource]:
        """All resources of a stack and of those nested in it; empty when the stack is gone."""
        ...

    def create_stack(self, request: StackRequest) -> None:
        """Ask for a stack and return at once; Conflict when one of that name is there, BadInput when Heat refuses."""
        ...

    def delete_stack(self, stack: Stack) -> None:
        """Ask for a stack's end and return at once; nothing happens when it is gone."""
        ...

    def resume_stack(self, stack: Stack) -> None:
        """Have Heat take up a stack as it is, where it may have let it lie; nothing happens when it is gone or busy.

        An update without a change: engines that live go on with what they do, what dead ones held is taken from them.
        """
        ...

    def replace_resources(
        self, stack: Stack, paths: Iterable[tuple[str, ...]], parameters: Mapping[str, Any], why: str
    ) -> None:
        """Have Heat recreate what has these paths, and all that is nested in it, whatever is left of it.

        The stack's parameters get these values; others stay. Nothing happens when the stack is gone or busy.
        """
        ...

    def delete_orphans(self, cluster: str, ids: Iterable[str]) -> list[str]:
        """Remove what Heat has lost of a cluster that is to go; returns what is still on its way, as in "server a-0".

        A service that died in the middle leaves servers that only their metadata tell, network things that only their
        description tells and that are not among these ids, and ports that cling to networks of either kind: those of
        routers, of nobody, and of servers that are gone. Ask until nothing is named, and `leftovers` names nothing.
        """
        ...

    def detach_subnet(self, router: str, subnet: str) -> None:
        """Take a subnet off a router, both by id; nothing happens when it is not on it."""
        ...

    def servers(self, cluster: str) -> list[Server]:
        """The servers whose metadata name this cluster, by name."""
        ...

    def delete_server(self, id: str) -> None:
        """Ask for a server's end and return at once; nothing happens when it is gone or about to be."""
        ...

    def leftovers(self, cluster: str, ids: Iterable[str]) -> list[str]:
        """What is still there of a cluster, as in "port demo-nodes": its servers, and network things.

        Network things are the cluster's by these ids, or by their description (`model.ownership.owned_by`).
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
        """Make an image of a raw file (GB, MB); one that breaks off is not left behind half-made."""
        ...

    def external_networks(self) -> list[str]:
        """Names and ids of the networks that floating IPs can come from."""
        ...

    def quotas(self) -> dict[str, Quota]:
        """By name: instances, cores, ram (MB), networks, ports, routers,
        security_groups, floating_ips."""
        ...
