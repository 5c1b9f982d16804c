"""The port `Volumes` on a real Cinder, and Nova for attachments."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume, NewVolume, VolumeAttachment
from moorage.model.errors import BadInput, Conflict, NotFound, QuotaExceeded

CINDER = "block-storage"
# Cinder's microversions (cinder/api/microversions.py) from which it ...
MESSAGES_BY_RESOURCE = "3.5"  # filters the messages to users
ATTACHMENTS = "3.27"  # has attachments as resources
EXTENDS_ATTACHED = "3.42"  # extends an attached volume

T = TypeVar("T")


class OpenStackVolumes:
    """The port `Volumes` on Cinder and Nova."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def create(self, request: NewVolume) -> CinderVolume:
        with _recognize_quota():
            return _volume(self.rest.post(CINDER, "/volumes", {"volume": _body(request)})["volume"])

    def get(self, id: str) -> CinderVolume | None:
        return _none_if_missing(lambda: _volume(self.rest.get(CINDER, f"/volumes/{id}")["volume"]))

    def list(self, name: str = "") -> builtins.list[CinderVolume]:
        volumes = [_volume(row) for row in self._rows("volumes", name)]
        return [volume for volume in volumes if name in ("", volume.name)]

    def delete(self, id: str) -> None:
        with _recognize_status():
            self.rest.delete(CINDER, f"/volumes/{id}")

    def extend(self, id: str, size: int) -> None:
        self._action(id, {"os-extend": {"new_size": size}}, EXTENDS_ATTACHED)

    def retype(self, id: str, type: str) -> None:
        if type not in self.types().values():
            raise NotFound(f"Cinder has no volume type {type!r}")
        self._action(id, {"os-retype": {"new_type": type, "migration_policy": "on-demand"}})

    def set_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        self._set_metadata(f"/volumes/{id}", metadata)

    def last_message(self, id: str) -> str:
        answer = self.rest.get(
            CINDER, "/messages", microversion=MESSAGES_BY_RESOURCE, resource_uuid=id, sort="created_at:desc", limit=1
        )["messages"]
        return str(answer[0]["user_message"]) if answer else ""

    def create_snapshot(self, name: str, volume: str, force: bool, metadata: Mapping[str, str]) -> CinderSnapshot:
        body = {"name": name, "volume_id": volume, "force": force, "metadata": dict(metadata)}
        with _recognize_status():
            return _snapshot(self.rest.post(CINDER, "/snapshots", {"snapshot": body})["snapshot"])

    def get_snapshot(self, id: str) -> CinderSnapshot | None:
        return _none_if_missing(lambda: _snapshot(self.rest.get(CINDER, f"/snapshots/{id}")["snapshot"]))

    def snapshots(self, name: str = "") -> builtins.list[CinderSnapshot]:
        snapshots = [_snapshot(row) for row in self._rows("snapshots", name)]
        return [snapshot for snapshot in snapshots if name in ("", snapshot.name)]

    def delete_snapshot(self, id: str) -> None:
        with _recognize_status():
            self.rest.delete(CINDER, f"/snapshots/{id}")

    def set_snapshot_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        self._set_metadata(f"/snapshots/{id}", metadata)

    def _set_metadata(self, path: str, metadata: Mapping[str, str]) -> None:
        """POST leaves other keys unchanged."""
        with _recognize_status():
            self.rest.post(CINDER, f"{path}/metadata", {"metadata": dict(metadata)})

    def attached(self, server: str) -> frozenset[str] | None:
        path = f"/servers/{server}/os-volume_attachments"
        return _none_if_missing(
            lambda: frozenset(row["volumeId"] for row in self.rest.list("compute", path, key="volumeAttachments"))
        )

    def attach(self, server: str, volume: str) -> None:
        with _recognize_status():
            body = {"volumeAttachment": {"volumeId": volume}}
            self.rest.post("compute", f"/servers/{server}/os-volume_attachments", body)

    def detach(self, server: str, volume: str) -> None:
        with _recognize_status():
            self.rest.delete("compute", f"/servers/{server}/os-volume_attachments/{volume}")

    def delete_attachment(self, attachment: str) -> None:
        with _recognize_status():
            self.rest.delete(CINDER, f"/attachments/{attachment}", microversion=ATTACHMENTS)

    def types(self) -> Mapping[str, str]:
        return {row["id"]: row["name"] for row in self.rest.list(CINDER, "/types", key="volume_types")}

    def default_type(self) -> str:
        default = _none_if_missing(lambda: self.rest.get(CINDER, "/types/default")["volume_type"])
        return default["name"] if default else ""

    def zones(self) -> builtins.list[str]:
        rows = self.rest.get(CINDER, "/os-availability-zone")["availabilityZoneInfo"]
        return sorted(row["zoneName"] for row in rows if row["zoneState"]["available"])

    def remaining_quota(self, type: str = "") -> int | None:
        path = f"/os-quota-sets/{self.rest.project()}"
        answer = self.rest.get(CINDER, path, usage="true")["quota_set"]
        names = ("gigabytes", f"gigabytes_{type}") if type else ("gigabytes",)
        available = [_available(answer[name]) for name in names if name in answer and answer[name]["limit"] >= 0]
        return min(available, default=None)

    def _action(self, id: str, body: Mapping[str, Any], microversion: str = "") -> None:
        with _recognize_status():
            self.rest.post(CINDER, f"/volumes/{id}/action", body, microversion=microversion)

    def _rows(self, kind: str, name: str) -> Iterator[Mapping[str, Any]]:
        """All rows; Cinder filters by name, so that the response is short."""
        return self.rest.list(CINDER, f"/{kind}/detail", key=kind, **({"name": name} if name else {}))


def _body(request: NewVolume) -> dict[str, Any]:
    optional = {
        "volume_type": request.type,
        "availability_zone": request.zone,
        "snapshot_id": request.snapshot,
        "source_volid": request.source,
    }
    chosen = {key: value for key, value in optional.items() if value}
    return {"name": request.name, "size": request.size, "metadata": dict(request.metadata)} | chosen


def _none_if_missing(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except NotFound:
        return None


def _available(quota: Mapping[str, int]) -> int:
    return max(0, quota["limit"] - quota["in_use"] - quota["reserved"])


@contextmanager
def _recognize_quota() -> Iterator[None]:
    """Recognize rejections because of a limit, which neither Cinder nor Nova always calls a quota."""
    try:
        yield
    except BadInput as error:
        if "exceeded" not in error.message:
            raise
        raise QuotaExceeded(error.message, "free some, or ask the cloud's operator for more") from error


@contextmanager
def _recognize_status() -> Iterator[None]:
    """Cinder, and so Nova, answer 400 when the status does not allow a change; here it is a Conflict."""
    try:
        with _recognize_quota():
            yield
    except BadInput as error:
        raise Conflict(error.message) from error


def _volume(row: Mapping[str, Any]) -> CinderVolume:
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


def _snapshot(row: Mapping[str, Any]) -> CinderSnapshot:
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
