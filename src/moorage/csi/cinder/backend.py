"""The port `Backend` for Cinder: a volume's handle is its Cinder id, a node's is its Nova id."""

from __future__ import annotations

from collections.abc import Mapping

from moorage.cloud.port.volumes import Volumes
from moorage.csi.backend import Snapshot, Volume, VolumeRequest
from moorage.csi.cinder import parameters
from moorage.csi.cinder.attach import VolumeAttacher
from moorage.csi.cinder.change import VolumeChanger
from moorage.csi.cinder.create import VolumeCreator
from moorage.csi.cinder.parameters import resolve_type
from moorage.csi.cinder.reader import Settings, VolumeReader, as_snapshot
from moorage.csi.cinder.snapshots import Snapshots
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
        return reader.as_volume(VolumeCreator(reader).create(request))

    def delete(self, handle: str) -> None:
        reader = self._reader()
        volume = reader.read_volume(handle)
        if volume is None:
            return
        if volume.attachments:
            raise Conflict(
                f"volume {handle} is attached to server {volume.attachments[0].server}",
                "it will be deleted once it is detached",
            )
        try:
            self.cinder.delete(handle)
        except NotFound:
            return  # another client was faster
        if (remaining := reader.read_volume(handle)) is not None:
            raise reader.failure(
                f"Cinder could not delete volume {handle}, which is in status {remaining.status}", handle
            )

    def volume(self, handle: str) -> Volume | None:
        volume = self.cinder.get(handle)
        return None if volume is None else self._reader().as_volume(volume)

    def volumes(self) -> list[Volume]:
        reader = self._reader()
        return [reader.as_volume(volume) for volume in self.cinder.list() if volume.status != "deleting"]

    def publish(self, handle: str, node: str) -> Mapping[str, str]:
        VolumeAttacher(self._reader()).publish(handle, node)
        return {}

    def unpublish(self, handle: str, node: str) -> None:
        VolumeAttacher(self._reader()).unpublish(handle, node)

    def expand(self, handle: str, size: int) -> Volume:
        reader = self._reader()
        return reader.as_volume(VolumeChanger(reader).expand(handle, size))

    def modify(self, handle: str, given: Mapping[str, str]) -> None:
        VolumeChanger(self._reader()).modify(handle, given)

    def snapshot(self, name: str, volume: str, given: Mapping[str, str]) -> Snapshot:
        return as_snapshot(Snapshots(self._reader()).create(name, volume, given))

    def delete_snapshot(self, handle: str) -> None:
        Snapshots(self._reader()).delete(handle)

    def find_snapshot(self, handle: str) -> Snapshot | None:
        snapshot = self.cinder.get_snapshot(handle)
        return None if snapshot is None else as_snapshot(snapshot)

    def snapshots(self) -> list[Snapshot]:
        return [as_snapshot(snapshot) for snapshot in self.cinder.snapshots() if snapshot.status != "deleting"]

    def capacity(self, given: Mapping[str, str], zone: str) -> int | None:
        """What the project's quota leaves; only the operator knows the free space of pools."""
        requested = parameters.parse_storage_class(given)
        requested_zone = requested.availability or (zone if self.settings.zones else "")
        if requested_zone and requested_zone not in self.cinder.zones():
            return 0
        gib = self.cinder.remaining_quota(resolve_type(self.cinder, requested.type) if requested.type else "")
        return None if gib is None else gib * GIB

    def _reader(self) -> VolumeReader:
        """A reader for one call; the call's time limit starts now."""
        return VolumeReader(self.cinder, self.settings, self.settings.timeouts.begin())
