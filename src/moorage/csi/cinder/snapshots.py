"""Create a snapshot once, and delete it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.cloud.port.volumes import CinderSnapshot
from moorage.csi.backend import NameTaken
from moorage.csi.cinder import parameters
from moorage.csi.cinder.metadata import build_metadata, is_owned_by
from moorage.csi.cinder.reader import VolumeReader
from moorage.model.errors import Conflict, Failed, NotFound, TimedOut


@dataclass(frozen=True)
class Snapshots:
    """A repeated request finds the snapshot by its name."""

    reader: VolumeReader

    def create(self, name: str, volume: str, given: Mapping[str, str]) -> CinderSnapshot:
        """The snapshot, possibly not ready yet; NotFound, NameTaken, Conflict, QuotaExceeded, Failed."""
        force = parameters.parse_snapshot_class(given)
        started = self._find_started(name, volume) or self._start(name, volume, force, given)
        created = self._wait_for(started)
        if created.status.startswith("error"):
            raise self._delete_failed(created)
        return created

    def delete(self, id: str) -> None:
        """Does nothing when it does not exist; Conflict, Failed."""
        if self.reader.read_snapshot(id) is None:
            return
        try:
            self.reader.volumes.delete_snapshot(id)
        except NotFound:
            return  # another client was faster
        if (remaining := self.reader.read_snapshot(id)) is not None:
            raise self.reader.failure(
                f"Cinder could not delete snapshot {id}, which is in status {remaining.status}", id
            )

    def _find_started(self, name: str, volume: str) -> CinderSnapshot | None:
        snapshots = [found for found in self.reader.volumes.snapshots(name) if "deleting" not in found.status]
        oldest = min(snapshots, key=lambda found: (found.status == "error", found.created_at, found.id), default=None)
        if oldest is not None and oldest.volume != volume:
            raise NameTaken(f"snapshot {oldest.id} has the name {name!r}, and is a snapshot of volume {oldest.volume}")
        return oldest

    def _start(self, name: str, volume: str, force: bool, given: Mapping[str, str]) -> CinderSnapshot:
        source = self.reader.volumes.get(volume)
        if source is None:
            raise NotFound(f"Cinder knows no volume {volume}")
        if "deleting" in source.status:
            raise Conflict(f"volume {volume} is being deleted: it cannot have new snapshots")
        if source.status == "in-use" and not force:
            raise Conflict(
                f"volume {volume} is in use", 'set force-create: "true" in the VolumeSnapshotClass, or delete its pod'
            )
        return self.reader.volumes.create_snapshot(
            name, volume, force, build_metadata(self.reader.settings.cluster, given)
        )

    def _wait_for(self, started: CinderSnapshot) -> CinderSnapshot:
        """Its present state, also when it takes longer than our time limit: the caller repeats the call."""
        try:
            snapshot = self.reader.read_snapshot(started.id)
        except TimedOut:
            return started
        if snapshot is None:
            raise Failed(f"snapshot {started.id} was deleted during its creation")
        return snapshot

    def _delete_failed(self, snapshot: CinderSnapshot) -> Failed:
        """Delete a snapshot that failed, so that the next attempt starts from nothing; returns the error to raise."""
        if not is_owned_by(snapshot.metadata, self.reader.settings.cluster):
            raise NameTaken(
                f"snapshot {snapshot.id} has the name {snapshot.name!r}, is in error and not this cluster's"
            )
        failure = self.reader.failure(f"Cinder could not create snapshot {snapshot.name}", snapshot.id)
        self.reader.volumes.delete_snapshot(snapshot.id)
        return failure
