"""The port for servers, as a cluster's controller uses it: Nova."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Address:
    """An IP address of a server: `fixed` is its port's own, `floating` is associated with it."""

    kind: Literal["fixed", "floating"]
    ip: str


@dataclass(frozen=True)
class Instance:
    """A server in Nova. `status` is Nova's, such as ACTIVE or SHUTOFF; addresses are in Nova's order."""

    id: str
    name: str
    status: str
    flavor: str = ""
    zone: str = ""
    addresses: tuple[Address, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


class Instances(Protocol):
    """The servers of one project. Every call raises CloudUnreachable when the cloud does not answer."""

    def list(self, cluster: str) -> builtins.list[Instance]:
        """The servers with this cluster's metadata: one call for a thousand of them."""
        ...

    def get(self, id: str) -> Instance | None:
        """One server, None when it is deleted."""
        ...
