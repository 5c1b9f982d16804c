"""The port `Backend` for Cinder: a volume's handle is its Cinder id, a node's is its Nova id."""

from __future__ import annotations

from collections.abc import Mapping

from moorage.cloud.volumes import Volumes
from moorage.csi.backend import Snapshot, Volume, VolumeRequest
from moorage.csi.cinder import parameters
from moorage.csi.cinder.attach import Attach
from moorage.csi.cinder.change import Change
from moorage.csi.cinder.create import Create
from moorage.csi.cinder.reader import Settings, VolumeReader, as_snapshot
from moorage.csi.cinder.snapshots import Snapshots
from moorage.csi.cinder.types import known
from moorage.csi.size import GIB
from moorage.model.errors import Conflict, NotFound
from moorage.model.ownership import CINDER_DRIVER, CINDER_ZONE

NAME = CINDER_DRIVER
TOPOLOGY = CINDER_ZONE


class CinderBackend:
    """Stateless: each call starts from what Cinder has, and may be interrupted between any two requests."""

    def __init__(self, volumes: Volumes, settings: Settings) -> None:
        self.cinder = volumes
        self.settings = settings

    def create(self, request: VolumeRequest) -> Volume:
        reader = self._reader()
        return reader.as_volume(Create(reader)(request))

    def delete(self, handle: str) -> None:
        reader = self._reader()
        seen = reader.volume(handle)
        if seen is None:
            return
        if seen.attachments:
            raise Conflict(
                f"volume {handle} is attached to server {seen.attachments[0].server}",
                "it will be deleted once it is detached",
            )
        try:
            self.cinder.delete(handle)
        except NotFound:
            return  # another client was faster
        if (left := reader.volume(handle)) is not None:
            raise reader.failed(f"Cinder could not delete volume {handle}, which is in status {left.status}", handle)

    def volume(self, handle: str) -> Volume | None:
        seen = self.cinder.get(handle)
        return None if seen is None else self._reader().as_volume(seen)

    def volumes(self) -> list[Volume]:
        reader = self._reader()
        return [reader.as_volume(seen) for seen in self.cinder.list() if seen.status != "deleting"]

    def publish(self, handle: str, node: str) -> Mapping[str, str]:
        Attach(self._reader()).publish(handle, node)
        return {}

    def unpublish(self, handle: str, node: str) -> None:
        Attach(self._reader()).unpublish(handle, node)

    def expand(self, handle: str, size: int) -> Volume:
        reader = self._reader()
        return reader.as_volume(Change(reader).expand(handle, size))

    def modify(self, handle: str, given: Mapping[str, str]) -> None:
        Change(self._reader()).modify(handle, given)

    def snapshot(self, name: str, volume: str, given: Mapping[str, str]) -> Snapshot:
        return as_snapshot(Snapshots(self._reader()).make(name, volume, given))

    def delete_snapshot(self, handle: str) -> None:
        Snapshots(self._reader()).delete(handle)

    def find_snapshot(self, handle: str) -> Snapshot | None:
        seen = self.cinder.get_snapshot(handle)
        return None if seen is None else as_snapshot(seen)

    def snapshots(self) -> list[Snapshot]:
        return [as_snapshot(seen) for seen in self.cinder.snapshots() if seen.status != "deleting"]

    def capacity(self, given: Mapping[str, str], zone: str) -> int | None:
        """What the project's quota leaves; only the operator knows the free space of pools."""
        requested = parameters.volume(given)
        wanted = requested.availability or (zone if self.settings.zones else "")
        if wanted and wanted not in self.cinder.zones():
            return 0
        left = self.cinder.remaining_quota(known(self.cinder, requested.type) if requested.type else "")
        return None if left is None else left * GIB

    def _reader(self) -> VolumeReader:
        """A call begins: its time limit starts."""
        return VolumeReader(self.cinder, self.settings, self.settings.timeouts.begin())
