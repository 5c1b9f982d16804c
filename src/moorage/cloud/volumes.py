"""What a cluster's storage driver needs of Cinder, and of Nova for bringing a volume to a server."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Statuses of a volume or snapshot from which it leaves by itself (cinder/objects/fields.py).
BUSY = frozenset(("creating", "deleting", "attaching", "detaching", "reserved", "extending", "retyping")) | frozenset(
    ("downloading", "uploading", "backing-up", "restoring-backup", "maintenance", "updating")
)


@dataclass(frozen=True)
class VolumeAttachment:
    """That a volume is at a server. `id` is Cinder's, of the connection."""

    id: str
    server: str


@dataclass(frozen=True)
class CinderVolume:
    """A volume as Cinder tells it: `size` in GiB, `type` by its name, `created_at` in seconds since 1970.

    `snapshot` or `source` is the id of what it began with; of its attachments only those that stand are told.
    """

    id: str
    name: str
    size: int
    status: str
    type: str = ""
    zone: str = ""
    snapshot: str = ""
    source: str = ""
    attachments: tuple[VolumeAttachment, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float = 0.0


@dataclass(frozen=True)
class CinderSnapshot:
    """A snapshot as Cinder tells it: `size` that of its volume then, in GiB; `created_at` in seconds since 1970."""

    id: str
    name: str
    volume: str
    size: int
    status: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float = 0.0


@dataclass(frozen=True)
class NewVolume:
    """What is asked of Cinder: `size` in GiB; "" for `type` and `zone` means Cinder's own choice."""

    name: str
    size: int
    type: str = ""
    zone: str = ""
    snapshot: str = ""
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class Volumes(Protocol):
    """Volumes and snapshots of one project. What changes something returns before the change is complete: look again.

    Every call may raise CloudUnreachable. What is asked for by id and is not there is None; a change of it raises
    NotFound. Conflict: its status does not allow the change now. BadInput: Cinder or Nova can never do it.
    """

    def create(self, wanted: NewVolume) -> CinderVolume:
        """A new volume at every call. NotFound: the type, snapshot or source; BadInput: the zone; QuotaExceeded."""
        ...

    def get(self, id: str) -> CinderVolume | None: ...

    def list(self, name: str = "") -> builtins.list[CinderVolume]:
        """The project's volumes, or those of exactly that name."""
        ...

    def delete(self, id: str) -> None:
        """Conflict: attached, with snapshots, or busy."""
        ...

    def extend(self, id: str, size: int) -> None:
        """To so many GiB, also while it is attached; QuotaExceeded."""
        ...

    def retype(self, id: str, type: str) -> None:
        """Give it another type, moving its bytes where that takes it; NotFound also for the type."""
        ...

    def set_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        """Write these of a volume's metadata and leave the others; none is ever taken away."""
        ...

    def last_message(self, id: str) -> str:
        """Cinder's last message to users about a volume or snapshot; "" when there is none."""
        ...

    def create_snapshot(self, name: str, volume: str, force: bool, metadata: Mapping[str, str]) -> CinderSnapshot:
        """A new snapshot at every call; an attached volume's only with `force`. QuotaExceeded."""
        ...

    def get_snapshot(self, id: str) -> CinderSnapshot | None: ...

    def snapshots(self, name: str = "") -> builtins.list[CinderSnapshot]:
        """The project's snapshots, or those of exactly that name."""
        ...

    def delete_snapshot(self, id: str) -> None: ...

    def set_snapshot_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        """As `set_metadata`, of a snapshot's."""
        ...

    def attached(self, server: str) -> frozenset[str] | None:
        """Ids of the volumes that Nova has at a server or is bringing to it; None when there is no such server."""
        ...

    def attach(self, server: str, volume: str) -> None:
        """QuotaExceeded: the server holds as many disks as it can."""
        ...

    def detach(self, server: str, volume: str) -> None: ...

    def delete_attachment(self, attachment: str) -> None:
        """Have Cinder drop an attachment whose server is gone; Conflict while the server is there."""
        ...

    def types(self) -> Mapping[str, str]:
        """Names of the volume types that the project may use, by id."""
        ...

    def default_type(self) -> str:
        """Name of the type that a volume gets for which none is asked; "" where Cinder names none."""
        ...

    def zones(self) -> builtins.list[str]:
        """Names of the zones in which volumes can be made."""
        ...

    def remaining_quota(self, type: str = "") -> int | None:
        """GiB that the project's quota leaves, for volumes of that type where it is narrower; None: no limit."""
        ...
