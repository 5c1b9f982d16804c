"""Create a volume once: a repeated request finds the volume by its name."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume, NewVolume
from moorage.csi.backend import NameTaken, Source, VolumeRequest
from moorage.csi.cinder import parameters
from moorage.csi.cinder.metadata import build_metadata, is_owned_by
from moorage.csi.cinder.parameters import resolve_type
from moorage.csi.cinder.reader import Settings, VolumeReader
from moorage.csi.size import GIB, SizeOutOfRange
from moorage.model.errors import BadInput, Conflict, Failed, NotFound


def build_new_volume(request: VolumeRequest, settings: Settings) -> NewVolume:
    """The request to Cinder; BadInput names an unknown parameter."""
    requested = parameters.parse_storage_class(request.parameters)
    zone = requested.availability or (request.zone if settings.zones else "")
    source = request.source
    metadata = build_metadata(settings.cluster, request.parameters)
    size = -(-request.size // GIB)
    return NewVolume(request.name, size, requested.type, zone, source.snapshot, source.volume, metadata)


@dataclass(frozen=True)
class VolumeCreator:
    """Handles one request: find the volume or create it, wait for it, and delete it if it failed."""

    reader: VolumeReader

    def create(self, request: VolumeRequest) -> CinderVolume:
        new = build_new_volume(request, self.reader.settings)
        started = self._find_started(new) or self._start(new, request.source)
        created = self.reader.read_volume(started.id)
        if created is None:
            raise Failed(f"volume {started.id} was deleted during its creation")
        if created.status.startswith("error"):
            raise self._delete_failed(created)
        return created

    def _find_started(self, new: NewVolume) -> CinderVolume | None:
        """The volume of that name, the oldest healthy one when there are several; NameTaken."""
        volumes = [volume for volume in self.reader.volumes.list(new.name) if "deleting" not in volume.status]
        oldest = min(volumes, key=lambda volume: (volume.status == "error", volume.created_at, volume.id), default=None)
        if oldest is not None and not self._has_same_type_and_source(oldest, new):
            raise NameTaken(f"volume {oldest.id} has the name {new.name!r}, and another type or source")
        return oldest

    def _has_same_type_and_source(self, volume: CinderVolume, new: NewVolume) -> bool:
        if (volume.snapshot, volume.source) != (new.snapshot, new.source):
            return False
        return new.type in ("", volume.type) or self.reader.volumes.types().get(new.type) == volume.type

    def _start(self, new: NewVolume, source: Source) -> CinderVolume:
        self._check_source(new, source)
        try:
            return self.reader.volumes.create(new)
        except NotFound:
            if new.type:
                resolve_type(self.reader.volumes, new.type)  # Cinder does not say what it did not find
            raise
        except BadInput as error:
            raise self._explain_zone(new, error) from error

    def _check_source(self, new: NewVolume, source: Source) -> None:
        """NotFound, Conflict when it cannot be read, SizeOutOfRange."""
        if source.snapshot:
            _check_readable(f"snapshot {source.snapshot}", self.reader.read_snapshot(source.snapshot), new.size)
        if source.volume:
            _check_readable(f"volume {source.volume}", self.reader.read_volume(source.volume), new.size)

    def _explain_zone(self, new: NewVolume, error: BadInput) -> BadInput:
        zones = self.reader.volumes.zones()
        if not new.zone or new.zone in zones:
            return error
        return BadInput(
            f"Cinder has no zone {new.zone!r} for volumes; it has {', '.join(zones)}",
            "set availability in the StorageClass to one of these; where nodes' zones are not Cinder's, "
            "start the driver with --any-zone",
        )

    def _delete_failed(self, volume: CinderVolume) -> Failed:
        """Delete a volume that failed, so that the next attempt starts from nothing; returns the error to raise."""
        if not is_owned_by(volume.metadata, self.reader.settings.cluster):
            raise NameTaken(f"volume {volume.id} has the name {volume.name!r}, is in error and not this cluster's")
        failure = self.reader.failure(f"Cinder could not create volume {volume.name}", volume.id)
        self.reader.volumes.delete(volume.id)
        return failure


def _check_readable(what: str, source: CinderSnapshot | CinderVolume | None, size: int) -> None:
    if source is None:
        raise NotFound(f"Cinder knows no {what}")
    if source.status not in ("available", "in-use"):
        raise Conflict(f"{what} cannot be read: it is in status {source.status}")
    if source.size > size:
        raise SizeOutOfRange(f"{what} has {source.size} GiB; a volume of {size} cannot hold it", "request a larger one")
