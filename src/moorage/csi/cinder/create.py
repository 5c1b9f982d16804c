"""Create a volume once: a repeated request finds the volume by its name."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.volumes import CinderSnapshot, CinderVolume, NewVolume
from moorage.csi.backend import NameTaken, Source, VolumeRequest
from moorage.csi.cinder import parameters
from moorage.csi.cinder.metadata import metadata, ours
from moorage.csi.cinder.reader import Settings, VolumeReader
from moorage.csi.cinder.types import known
from moorage.csi.size import GIB, SizeOutOfRange
from moorage.model.errors import BadInput, Conflict, Failed, NotFound


def wanted(request: VolumeRequest, settings: Settings) -> NewVolume:
    """The request to Cinder; BadInput names an unknown parameter."""
    requested = parameters.volume(request.parameters)
    zone = requested.availability or (request.zone if settings.zones else "")
    source = request.source
    written = metadata(settings.cluster, request.parameters)
    size = -(-request.size // GIB)
    return NewVolume(request.name, size, requested.type, zone, source.snapshot, source.volume, written)


@dataclass(frozen=True)
class Create:
    """Handles one request: find the volume or create it, wait for it, and delete it if it failed."""

    reader: VolumeReader

    def __call__(self, request: VolumeRequest) -> CinderVolume:
        new = wanted(request, self.reader.settings)
        begun = self._begun(new) or self._begin(new, request.source)
        made = self.reader.volume(begun.id)
        if made is None:
            raise Failed(f"volume {begun.id} was deleted during its creation")
        if made.status.startswith("error"):
            raise self._cleared(made)
        return made

    def _begun(self, new: NewVolume) -> CinderVolume | None:
        """The volume of that name, the oldest healthy one when there are several; NameTaken."""
        named = [seen for seen in self.reader.volumes.list(new.name) if "deleting" not in seen.status]
        found = min(named, key=lambda seen: (seen.status == "error", seen.created_at, seen.id), default=None)
        if found is not None and not self._same(found, new):
            raise NameTaken(f"volume {found.id} has the name {new.name!r}, and another type or source")
        return found

    def _same(self, found: CinderVolume, new: NewVolume) -> bool:
        if (found.snapshot, found.source) != (new.snapshot, new.source):
            return False
        return new.type in ("", found.type) or self.reader.volumes.types().get(new.type) == found.type

    def _begin(self, new: NewVolume, source: Source) -> CinderVolume:
        self._check_source(new, source)
        try:
            return self.reader.volumes.create(new)
        except NotFound:
            if new.type:
                known(self.reader.volumes, new.type)  # Cinder does not say what it did not find
            raise
        except BadInput as error:
            raise self._explained(new, error) from error

    def _check_source(self, new: NewVolume, source: Source) -> None:
        """NotFound, Conflict when it cannot be read, SizeOutOfRange."""
        if source.snapshot:
            _check(f"snapshot {source.snapshot}", self.reader.snapshot(source.snapshot), new.size)
        if source.volume:
            _check(f"volume {source.volume}", self.reader.volume(source.volume), new.size)

    def _explained(self, new: NewVolume, error: BadInput) -> BadInput:
        zones = self.reader.volumes.zones()
        if not new.zone or new.zone in zones:
            return error
        return BadInput(
            f"Cinder has no zone {new.zone!r} for volumes; it has {', '.join(zones)}",
            "set availability in the StorageClass to one of these; where nodes' zones are not Cinder's, "
            "start the driver with --any-zone",
        )

    def _cleared(self, made: CinderVolume) -> Failed:
        """Delete a volume that failed, so that the next attempt starts from nothing; returns the error to raise."""
        if not ours(made.metadata, self.reader.settings.cluster):
            raise NameTaken(f"volume {made.id} has the name {made.name!r}, is in error and not this cluster's")
        failure = self.reader.failed(f"Cinder could not create volume {made.name}", made.id)
        self.reader.volumes.delete(made.id)
        return failure


def _check(what: str, seen: CinderSnapshot | CinderVolume | None, size: int) -> None:
    if seen is None:
        raise NotFound(f"Cinder knows no {what}")
    if seen.status not in ("available", "in-use"):
        raise Conflict(f"{what} cannot be read: it is in status {seen.status}")
    if seen.size > size:
        raise SizeOutOfRange(f"{what} has {seen.size} GiB; a volume of {size} cannot hold it", "request a larger one")
