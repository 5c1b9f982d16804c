"""The port for volumes: Cinder, and Nova for attachments."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Transitional statuses of volumes and snapshots (cinder/objects/fields.py).
BUSY = frozenset(("creating", "deleting", "attaching", "detaching", "reserved", "extending", "retyping")) | frozenset(
    ("downloading", "uploading", "backing-up", "restoring-backup", "maintenance", "updating")
)


@dataclass(frozen=True)
class VolumeAttachment:
    """An attachment of a volume to a server; `id` is Cinder's."""

    id: str
    server: str


@dataclass(frozen=True)
class CinderVolume:
    """A volume in Cinder: `size` in GiB, `type` by name, `created_at` in seconds since 1970.

    `snapshot` or `source` is the id of what it was created from. Only existing attachments are listed.
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
    """A snapshot in Cinder: `size` of its volume at that time, in GiB; `created_at` in seconds since 1970."""

    id: str
    name: str
    volume: str
    size: int
    status: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float = 0.0


@dataclass(frozen=True)
class NewVolume:
    """A request for a volume: `size` in GiB; Cinder chooses a `type` or `zone` that is empty."""

    name: str
    size: int
    type: str = ""
    zone: str = ""
    snapshot: str = ""
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class Volumes(Protocol):
    """Volumes and snapshots of one project. Changes return before they are complete: read again.

    Every call may raise CloudUnreachable. A read of a missing id returns None; a change of it raises NotFound.
    Conflict: its status does not allow the change now. BadInput: Cinder or Nova can never do it.
    """

    def create(self, request: NewVolume) -> CinderVolume:
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
        """Expand it to that many GiB, also while it is attached; QuotaExceeded."""
        ...

    def retype(self, id: str, type: str) -> None:
        """Change its type, migrating its data where needed; NotFound also for the type."""
        ...

    def set_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        """Set these keys of a volume's metadata and keep the others; no key is ever removed."""
        ...

    def last_message(self, id: str) -> str:
        """Cinder's last message to users about a volume or snapshot; "" when there is none."""
        ...

    def create_snapshot(self, name: str, volume: str, force: bool, metadata: Mapping[str, str]) -> CinderSnapshot:
        """A new snapshot at every call; of an attached volume only with `force`. QuotaExceeded."""
        ...

    def get_snapshot(self, id: str) -> CinderSnapshot | None: ...

    def snapshots(self, name: str = "") -> builtins.list[CinderSnapshot]:
        """The project's snapshots, or those of exactly that name."""
        ...

    def delete_snapshot(self, id: str) -> None: ...

    def set_snapshot_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        """As `set_metadata`, for a snapshot."""
        ...

    def attached(self, server: str) -> frozenset[str] | None:
        """Ids of the volumes that Nova has attached or is attaching to a server; None without such a server."""
        ...

    def attach(self, server: str, volume: str) -> None:
        """QuotaExceeded: the server has as many disks as it can have."""
        ...

    def detach(self, server: str, volume: str) -> None: ...

    def delete_attachment(self, attachment: str) -> None:
        """Make Cinder delete an attachment of a deleted server; Conflict while the server exists."""
        ...

    def types(self) -> Mapping[str, str]:
        """Names of the volume types that the project may use, by id."""
        ...

    def default_type(self) -> str:
        """The name of the default volume type; "" when Cinder has none."""
        ...

    def zones(self) -> builtins.list[str]:
        """Names of the zones in which volumes can be created."""
        ...

    def remaining_quota(self, type: str = "") -> int | None:
        """GiB that the quota leaves to the project, for volumes of that type when its quota is narrower.

        None: no limit.
        """
        ...
