"""Change an existing volume: its size, its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.cloud.port.volumes import CinderVolume
from moorage.csi.cinder import parameters
from moorage.csi.cinder.parameters import resolve_type
from moorage.csi.cinder.reader import VolumeReader
from moorage.csi.size import GIB


@dataclass(frozen=True)
class VolumeChanger:
    """Each call reads the present state first, so that a repeated call finds its work done."""

    reader: VolumeReader

    def expand(self, id: str, size: int) -> CinderVolume:
        """Extend it to at least `size` bytes; NotFound, Conflict, QuotaExceeded, Failed."""
        gib = -(-size // GIB)
        volume = self.reader.require_volume(id)
        if volume.size >= gib:
            return volume
        self.reader.volumes.extend(id, gib)
        extended = self.reader.require_volume(id)
        if extended.size < gib:
            raise self.reader.failure(f"Cinder could not extend volume {id} to {gib} GiB", id)
        return extended

    def modify(self, id: str, given: Mapping[str, str]) -> None:
        """Set the type of a VolumeAttributesClass; NotFound, BadInput, Conflict, Failed."""
        requested = parameters.parse_attributes_class(given)
        volume = self.reader.require_volume(id)
        if requested in ("", volume.type):
            return
        name = resolve_type(self.reader.volumes, requested)
        if name == volume.type:
            return
        self.reader.volumes.retype(id, name)
        if self.reader.require_volume(id).type != name:
            raise self.reader.failure(f"Cinder could not change volume {id} to the type {name}", id)
