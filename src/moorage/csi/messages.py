"""CSI's messages: check and parse requests, build responses; lists in pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from moorage.csi.backend import Snapshot, Source, Volume
from moorage.csi.spec import csi_pb2 as csi
from moorage.host.filesystems import KINDS
from moorage.model.errors import BadInput

MODE = csi.VolumeCapability.AccessMode
ONE_NODE = frozenset(
    (
        MODE.SINGLE_NODE_WRITER,
        MODE.SINGLE_NODE_READER_ONLY,
        MODE.SINGLE_NODE_SINGLE_WRITER,
        MODE.SINGLE_NODE_MULTI_WRITER,
    )
)
T = TypeVar("T")
PREFIX = "after:"


def require_field(value: str, field: str) -> str:
    """The field's value; BadInput when it is empty."""
    if not value:
        raise BadInput(f"no {field} was given")
    return value


def check_capabilities(capabilities: Iterable[csi.VolumeCapability]) -> None:
    """Raise BadInput, which names the unsupported use, or says that none was requested."""
    requested = list(capabilities)
    if not requested:
        raise BadInput("no volume capability was given")
    for capability in requested:
        _check_capability(capability)


def _check_capability(capability: csi.VolumeCapability) -> None:
    mode = capability.access_mode.mode
    if mode not in ONE_NODE:
        raise BadInput(
            f"a volume is used by one node at a time; access mode {MODE.Mode.Name(mode)} is not supported",
            "claim it with ReadWriteOnce or ReadWriteOncePod",
        )
    kind = capability.WhichOneof("access_type")
    if kind is None:
        raise BadInput("a volume is used as a file system or as a block device; neither was requested")
    fs_type = capability.mount.fs_type
    if kind == "mount" and fs_type and fs_type not in KINDS:
        raise BadInput(f"file system {fs_type!r} is not supported; supported: {' and '.join(KINDS)}")


def volume_message(volume: Volume, topology: str) -> csi.Volume:
    """`topology` is the key of the zone in nodes' topology."""
    message = csi.Volume(volume_id=volume.handle, capacity_bytes=volume.size)
    if volume.source.snapshot:
        message.content_source.snapshot.snapshot_id = volume.source.snapshot
    elif volume.source.volume:
        message.content_source.volume.volume_id = volume.source.volume
    if volume.zone:
        message.accessible_topology.add().segments[topology] = volume.zone
    return message


def volume_condition(volume: Volume) -> csi.VolumeCondition:
    return csi.VolumeCondition(abnormal=bool(volume.fault), message=volume.fault or "healthy")


def snapshot_message(snapshot: Snapshot) -> csi.Snapshot:
    message = csi.Snapshot(
        snapshot_id=snapshot.handle,
        source_volume_id=snapshot.volume,
        size_bytes=snapshot.size,
        ready_to_use=snapshot.ready,
    )
    message.creation_time.FromMicroseconds(round(snapshot.created_at * 1_000_000))
    return message


def parse_source(message: csi.VolumeContentSource) -> Source:
    """The source in a VolumeContentSource; empty when it is not set."""
    return Source(message.snapshot.snapshot_id, message.volume.volume_id)


def preferred_zone(requirement: csi.TopologyRequirement, topology: str) -> str:
    """The most preferred zone, "" when any is allowed."""
    for candidate in (*requirement.preferred, *requirement.requisite):
        if topology in candidate.segments:
            return str(candidate.segments[topology])
    return ""


class BadToken(BadInput):
    """The token is not one that a list returned; CSI's ABORTED."""


def paginate(rows: Sequence[tuple[str, T]], token: str, limit: int) -> tuple[list[T], str]:
    """The rows after a token, at most `limit` of them (0: all), and the next token ("" at the end).

    `rows` are pairs of handle and object, in any order; pages are sorted by handle.
    """
    if limit < 0:
        raise BadInput(f"a page cannot hold {limit} entries")
    if token and not token.startswith(PREFIX):
        raise BadToken(f"{token!r} is not a token of a list")
    after = token.removeprefix(PREFIX)
    remaining = sorted((row for row in rows if row[0] > after), key=lambda row: row[0])
    entries = remaining[:limit] if limit else remaining
    next_token = PREFIX + entries[-1][0] if len(entries) < len(remaining) else ""
    return [item for _, item in entries], next_token
