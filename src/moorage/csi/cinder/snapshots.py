"""Create a snapshot once, and delete it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.cloud.volumes import CinderSnapshot
from moorage.csi.backend import NameTaken
from moorage.csi.cinder import parameters
from moorage.csi.cinder.metadata import metadata, ours
from moorage.csi.cinder.reader import VolumeReader
from moorage.model.errors import Conflict, Failed, NotFound, TimedOut


@dataclass(frozen=True)
class Snapshots:
    """A repeated request finds the snapshot by its name."""

    reader: VolumeReader

    def make(self, name: str, volume: str, given: Mapping[str, str]) -> CinderSnapshot:
        """The snapshot, possibly not ready yet; NotFound, NameTaken, Conflict, QuotaExceeded, Failed."""
        force = parameters.snapshot(given)
        begun = self._begun(name, volume) or self._begin(name, volume, force, given)
        made = self._settled(begun)
        if made.status.startswith("error"):
            raise self._cleared(made)
        return made

    def delete(self, id: str) -> None:
        """Does nothing when it does not exist; Conflict, Failed."""
        if self.reader.snapshot(id) is None:
            return
        try:
            self.reader.volumes.delete_snapshot(id)
        except NotFound:
            return  # another client was faster
        if (left := self.reader.snapshot(id)) is not None:
            raise self.reader.failed(f"Cinder could not delete snapshot {id}, which is in status {left.status}", id)

    def _begun(self, name: str, volume: str) -> CinderSnapshot | None:
        named = [seen for seen in self.reader.volumes.snapshots(name) if "deleting" not in seen.status]
        found = min(named, key=lambda seen: (seen.status == "error", seen.created_at, seen.id), default=None)
        if found is not None and found.volume != volume:
            raise NameTaken(f"snapshot {found.id} has the name {name!r}, and is a snapshot of volume {found.volume}")
        return found

    def _begin(self, name: str, volume: str, force: bool, given: Mapping[str, str]) -> CinderSnapshot:
        seen = self.reader.volumes.get(volume)
        if seen is None:
            raise NotFound(f"Cinder knows no volume {volume}")
        if "deleting" in seen.status:
            raise Conflict(f"volume {volume} is being deleted: it cannot have new snapshots")
        if seen.status == "in-use" and not force:
            raise Conflict(
                f"volume {volume} is in use", 'set force-create: "true" in the VolumeSnapshotClass, or delete its pod'
            )
        return self.reader.volumes.create_snapshot(name, volume, force, metadata(self.reader.settings.cluster, given))

    def _settled(self, begun: CinderSnapshot) -> CinderSnapshot:
        """Its present state, also when it takes longer than our time limit: the caller asks again."""
        try:
            seen = self.reader.snapshot(begun.id)
        except TimedOut:
            return begun
        if seen is None:
            raise Failed(f"snapshot {begun.id} was deleted during its creation")
        return seen

    def _cleared(self, made: CinderSnapshot) -> Failed:
        """Delete a snapshot that failed, so that the next attempt starts from nothing; returns the error to raise."""
        if not ours(made.metadata, self.reader.settings.cluster):
            raise NameTaken(f"snapshot {made.id} has the name {made.name!r}, is in error and not this cluster's")
        failure = self.reader.failed(f"Cinder could not create snapshot {made.name}", made.id)
        self.reader.volumes.delete_snapshot(made.id)
        return failure
