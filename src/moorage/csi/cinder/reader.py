"""Read a volume or snapshot once no change of it is in progress, and convert it for the driver."""

from __future__ import annotations

from dataclasses import dataclass, field

from moorage.cloud.port.volumes import BUSY, CinderSnapshot, CinderVolume, Volumes
from moorage.csi.backend import Snapshot, Source, Volume
from moorage.csi.cinder.waiter import Timeouts, Waiter
from moorage.csi.size import GIB
from moorage.model.errors import Failed, MoorageError, NotFound


@dataclass(frozen=True)
class Settings:
    """`cluster` is written on all that is created; `zones` False: nodes' zones are not Cinder's, so request no zone."""

    cluster: str
    zones: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True)
class VolumeReader:
    """Reads volumes and snapshots once no change is in progress; one reader per call, with the call's time limit."""

    volumes: Volumes
    settings: Settings
    waiter: Waiter

    def read_volume(self, id: str) -> CinderVolume | None:
        """The volume once no change is in progress, None when it does not exist; TimedOut."""
        return self.waiter.until(
            lambda: self.volumes.get(id),
            lambda volume: volume is None or volume.status not in BUSY,
            f"volume {id} is busy",
        )

    def require_volume(self, id: str) -> CinderVolume:
        """The same, NotFound when it does not exist."""
        if (volume := self.read_volume(id)) is None:
            raise NotFound(f"Cinder knows no volume {id}")
        return volume

    def read_snapshot(self, id: str) -> CinderSnapshot | None:
        """The snapshot once no change is in progress, None when it does not exist; TimedOut."""
        return self.waiter.until(
            lambda: self.volumes.get_snapshot(id),
            lambda snapshot: snapshot is None or snapshot.status not in BUSY,
            f"snapshot {id} is busy",
        )

    def failure(self, what: str, id: str) -> Failed:
        """The error for what failed, with Cinder's message about the volume or snapshot."""
        message = self._read_message(id)
        return Failed(
            f"{what}: {message}" if message else what, f"`openstack volume message list` and Cinder's log on {id}"
        )

    def _read_message(self, id: str) -> str:
        """A cloud without user messages must not hide the failure itself."""
        try:
            return self.volumes.last_message(id)
        except MoorageError:
            return ""

    def as_volume(self, volume: CinderVolume) -> Volume:
        return Volume(
            handle=volume.id,
            name=volume.name,
            size=volume.size * GIB,
            zone=volume.zone if self.settings.zones else "",
            source=Source(volume.snapshot, volume.source),
            nodes=tuple(attachment.server for attachment in volume.attachments),
            fault=f"Cinder has it in status {volume.status}" if volume.status.startswith("error") else "",
        )


def as_snapshot(snapshot: CinderSnapshot) -> Snapshot:
    return Snapshot(
        handle=snapshot.id,
        name=snapshot.name,
        volume=snapshot.volume,
        size=snapshot.size * GIB,
        created_at=snapshot.created_at,
        ready=snapshot.status == "available",
    )
