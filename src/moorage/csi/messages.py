"""Convert volumes and snapshots to CSI's messages, and requests to ours."""

from __future__ import annotations

from typing import Any

from moorage.csi.backend import Snapshot, Source, Volume
from moorage.csi.spec import csi_pb2 as csi


def volume_message(volume: Volume, topology: str) -> Any:
    """`topology` is the key of the zone in nodes' topology."""
    message = csi.Volume(volume_id=volume.handle, capacity_bytes=volume.size)
    if volume.source.snapshot:
        message.content_source.snapshot.snapshot_id = volume.source.snapshot
    elif volume.source.volume:
        message.content_source.volume.volume_id = volume.source.volume
    if volume.zone:
        message.accessible_topology.add().segments[topology] = volume.zone
    return message


def volume_condition(volume: Volume) -> Any:
    return csi.VolumeCondition(abnormal=bool(volume.fault), message=volume.fault or "healthy")


def snapshot_message(snapshot: Snapshot) -> Any:
    message = csi.Snapshot(
        snapshot_id=snapshot.handle,
        source_volume_id=snapshot.volume,
        size_bytes=snapshot.size,
        ready_to_use=snapshot.ready,
    )
    message.creation_time.FromMicroseconds(round(snapshot.created_at * 1_000_000))
    return message


def parse_source(message: Any) -> Source:
    """The source in a VolumeContentSource; empty when it is not set."""
    return Source(message.snapshot.snapshot_id, message.volume.volume_id)


def preferred_zone(requirement: Any, topology: str) -> str:
    """The most preferred zone, "" when any is allowed."""
    for candidate in (*requirement.preferred, *requirement.requisite):
        if topology in candidate.segments:
            return str(candidate.segments[topology])
    return ""
