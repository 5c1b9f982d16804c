"""Convert Cinder's rows, which have the shapes of its API reference, version 3."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moorage.cloud.volumes import CinderSnapshot, CinderVolume, VolumeAttachment


def volume_row(row: Mapping[str, Any]) -> CinderVolume:
    return CinderVolume(
        id=row["id"],
        name=row.get("name") or "",
        size=row["size"],
        status=row["status"],
        type=row.get("volume_type") or "",
        zone=row.get("availability_zone") or "",
        snapshot=row.get("snapshot_id") or "",
        source=row.get("source_volid") or "",
        attachments=tuple(_attachment(entry) for entry in row.get("attachments", ())),
        metadata=row.get("metadata") or {},
        created_at=_seconds(row.get("created_at")),
    )


def snapshot_row(row: Mapping[str, Any]) -> CinderSnapshot:
    return CinderSnapshot(
        id=row["id"],
        name=row.get("name") or "",
        volume=row["volume_id"],
        size=row["size"],
        status=row["status"],
        metadata=row.get("metadata") or {},
        created_at=_seconds(row.get("created_at")),
    )


def _attachment(entry: Mapping[str, Any]) -> VolumeAttachment:
    return VolumeAttachment(entry["attachment_id"], entry.get("server_id") or "")


def _seconds(time: str | None) -> float:
    """Cinder's times are UTC without a time zone."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() if time else 0.0
