"""The port: what the driver needs of a storage backend, whichever it is.

Sizes are bytes. A backend may round a size up to what it can make, never down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from moorage.model.errors import Conflict


class NameTaken(Conflict):
    """What is there under the name is not what was asked for; CSI's ALREADY_EXISTS."""


@dataclass(frozen=True)
class Source:
    """What a new volume begins with: the handle of a `snapshot` or of a `volume`, one of both or neither."""

    snapshot: str = ""
    volume: str = ""


@dataclass(frozen=True)
class VolumeRequest:
    """A volume to make. `name` is the caller's own and tells one request from another; `zone` "" means any."""

    name: str
    size: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    source: Source = Source()


@dataclass(frozen=True)
class Volume:
    """A volume that can be used. `nodes` are the handles of those that it is attached to; `fault` "" is healthy."""

    handle: str
    name: str
    size: int
    zone: str = ""
    source: Source = Source()
    nodes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Snapshot:
    """What a volume held at a moment. `created_at` in seconds since 1970; `size` that of its volume then."""

    handle: str
    name: str
    volume: str
    size: int
    created_at: float
    ready: bool


class Backend(Protocol):
    """Keeps volumes and snapshots, and brings a volume to a node.

    Every call may be repeated, also after one that was cut off: it finds what was begun and goes on from there.
    Every call may raise CloudUnreachable, and TimedOut when the backend is still at it: repeat. BadInput: the request
    can never succeed as it is. NotFound and Conflict only where stated.
    """

    def create(self, request: VolumeRequest) -> Volume:
        """Make the volume or return the one of that name.

        NameTaken: the name is another volume's; SizeOutOfRange: the source is larger; NotFound: it is gone;
        QuotaExceeded.
        """
        ...

    def delete(self, handle: str) -> None:
        """Nothing when it is gone; Conflict while it is attached or has snapshots that need it."""
        ...

    def volume(self, handle: str) -> Volume | None: ...

    def volumes(self) -> list[Volume]:
        """All volumes, in an order that stays."""
        ...

    def publish(self, handle: str, node: str) -> Mapping[str, str]:
        """Bring the volume to a node; returns what the node needs to find it.

        NotFound: no such volume or node; Conflict: it is at another node; QuotaExceeded: the node holds its most.
        """
        ...

    def unpublish(self, handle: str, node: str) -> None:
        """Nothing when it is not there, or when either is gone."""
        ...

    def expand(self, handle: str, size: int) -> Volume:
        """Nothing when it is that large; NotFound, QuotaExceeded."""
        ...

    def modify(self, handle: str, given: Mapping[str, str]) -> None:
        """Change what can be changed of a living volume; NotFound."""
        ...

    def snapshot(self, name: str, volume: str, given: Mapping[str, str]) -> Snapshot:
        """Make the snapshot or return that of this name, perhaps before it is ready.

        NotFound; NameTaken: it is another volume's; Conflict: the volume is being deleted, or busy; QuotaExceeded.
        """
        ...

    def find_snapshot(self, handle: str) -> Snapshot | None: ...

    def delete_snapshot(self, handle: str) -> None:
        """Nothing when it is gone; Conflict while a volume needs it."""
        ...

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, in an order that stays."""
        ...

    def capacity(self, given: Mapping[str, str], zone: str) -> int | None:
        """Bytes that can still be given out; None when the backend does not tell."""
        ...
