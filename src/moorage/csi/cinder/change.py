"""Change an existing volume: its size, its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.cloud.volumes import CinderVolume
from moorage.csi.cinder import parameters
from moorage.csi.cinder.reader import VolumeReader
from moorage.csi.cinder.types import known
from moorage.csi.size import GIB


@dataclass(frozen=True)
class Change:
    """Each call starts from the present state, so that a repeated call finds its work done."""

    reader: VolumeReader

    def expand(self, id: str, size: int) -> CinderVolume:
        """To at least `size` bytes; NotFound, Conflict, QuotaExceeded, Failed."""
        gib = -(-size // GIB)
        seen = self.reader.there(id)
        if seen.size >= gib:
            return seen
        self.reader.volumes.extend(id, gib)
        grown = self.reader.there(id)
        if grown.size < gib:
            raise self.reader.failed(f"Cinder could not extend volume {id} to {gib} GiB", id)
        return grown

    def modify(self, id: str, given: Mapping[str, str]) -> None:
        """Set the type of a VolumeAttributesClass; NotFound, BadInput, Conflict, Failed."""
        wanted = parameters.changes(given)
        seen = self.reader.there(id)
        if wanted in ("", seen.type):
            return
        name = known(self.reader.volumes, wanted)
        if name == seen.type:
            return
        self.reader.volumes.retype(id, name)
        if self.reader.there(id).type != name:
            raise self.reader.failed(f"Cinder could not change volume {id} to the type {name}", id)
