"""Read a volume or snapshot once no change of it is in progress, within a call's time limit, and convert it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from moorage.cloud.port.volumes import BUSY, CinderSnapshot, CinderVolume, Volumes
from moorage.csi.backend import Snapshot, Source, Volume
from moorage.csi.size import GIB
from moorage.model.errors import Failed, MoorageError, NotFound, TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Timeouts:
    """Seconds: `total` is the limit of one call; the interval between polls grows by `growth` from `first` to
    `longest`.

    The sidecars' own time limit must be longer than `total`, so that they get our error.
    """

    total: float = 50.0
    first: float = 0.2
    longest: float = 2.0
    growth: float = 1.3
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def begin(self) -> Waiter:
        """Start the time limit of one call."""
        return Waiter(self, self.clock() + self.total)


@dataclass(frozen=True)
class Waiter:
    """Waits within one call's time, until `deadline` on the clock."""

    timeouts: Timeouts
    deadline: float

    def until(self, read: Callable[[], T], is_done: Callable[[T], bool], what: str) -> T:
        """The first result of `read` that `is_done` accepts; TimedOut names what was waited for."""
        pause = self.timeouts.first
        while not is_done(result := read()):
            if self.timeouts.clock() + pause > self.deadline:
                raise TimedOut(
                    f"{what} after {self.timeouts.total:g} seconds", "the operation continues and is checked again"
                )
            self.timeouts.sleep(pause)
            pause = min(pause * self.timeouts.growth, self.timeouts.longest)
        return result


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
