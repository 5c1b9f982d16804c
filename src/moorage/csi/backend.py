"""The port for storage backends.

Sizes are bytes. A backend may round a size up to what it can create, never down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from moorage.model.errors import Conflict


class NameTaken(Conflict):
    """The existing object of that name does not match the request; CSI's ALREADY_EXISTS."""


@dataclass(frozen=True)
class Source:
    """The source of a new volume: the handle of a `snapshot` or of a `volume`, or neither."""

    snapshot: str = ""
    volume: str = ""


@dataclass(frozen=True)
class VolumeRequest:
    """A volume to create. `name` is the caller's and identifies the request; `zone` "" means any."""

    name: str
    size: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    source: Source = Source()


@dataclass(frozen=True)
class Volume:
    """A usable volume. `nodes` are the handles of the nodes that it is attached to; `fault` "" is healthy."""

    handle: str
    name: str
    size: int
    zone: str = ""
    source: Source = Source()
    nodes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot. `created_at` in seconds since 1970; `size` is that of its volume at the time."""

    handle: str
    name: str
    volume: str
    size: int
    created_at: float
    ready: bool


class Backend(Protocol):
    """Stores volumes and snapshots, and attaches a volume to a node.

    Every call may be repeated, also after an interruption: it resumes what was started. Every call may raise
    CloudUnreachable, and TimedOut while the backend is still working: repeat the call. BadInput: the request can never
    succeed. NotFound and Conflict only where stated.
    """

    def create(self, request: VolumeRequest) -> Volume:
        """Create the volume, or return the one of that name.

        NameTaken: another volume has the name; SizeOutOfRange: the source is larger; NotFound: the source does not
        exist; QuotaExceeded.
        """
        ...

    def delete(self, handle: str) -> None:
        """Does nothing when it does not exist; Conflict while it is attached or has snapshots that need it."""
        ...

    def volume(self, handle: str) -> Volume | None: ...

    def volumes(self) -> list[Volume]:
        """All volumes, in a stable order."""
        ...

    def publish(self, handle: str, node: str) -> Mapping[str, str]:
        """Attach the volume to a node; returns what the node needs to find it.

        NotFound: no such volume or node; Conflict: it is attached to another node; QuotaExceeded: the node has the
        maximum.
        """
        ...

    def unpublish(self, handle: str, node: str) -> None:
        """Does nothing when it is not attached, or when either does not exist."""
        ...

    def expand(self, handle: str, size: int) -> Volume:
        """Does nothing when it is large enough; NotFound, QuotaExceeded."""
        ...

    def modify(self, handle: str, given: Mapping[str, str]) -> None:
        """Change the mutable parameters of an existing volume; NotFound."""
        ...

    def snapshot(self, name: str, volume: str, given: Mapping[str, str]) -> Snapshot:
        """Create the snapshot, or return the one of that name, possibly before it is ready.

        NotFound; NameTaken: it is another volume's; Conflict: the volume is being deleted, or busy; QuotaExceeded.
        """
        ...

    def find_snapshot(self, handle: str) -> Snapshot | None: ...

    def delete_snapshot(self, handle: str) -> None:
        """Does nothing when it does not exist; Conflict while a volume needs it."""
        ...

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, in a stable order."""
        ...

    def capacity(self, given: Mapping[str, str], zone: str) -> int | None:
        """Available bytes; None when the backend does not know."""
        ...


class Attacher(Protocol):
    """Finds the device of an attached volume on a node, without a request to the backend."""

    def find(self, volume: str) -> Path | None:
        """The device, None when it does not exist."""
        ...

    def wait_for(self, volume: str) -> Path:
        """The device of a volume that was just attached; TimedOut when it does not appear: try again."""
        ...
