"""Attach a volume to a server and detach it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from moorage.cloud.port.volumes import CinderVolume
from moorage.csi.cinder.reader import VolumeReader
from moorage.model.errors import Conflict, NotFound, QuotaExceeded


@dataclass(frozen=True)
class VolumeAttacher:
    """Nova knows what is attached or attaching to a server; Cinder knows when a volume is attached."""

    reader: VolumeReader

    def publish(self, volume_id: str, server_id: str) -> None:
        """NotFound, Conflict, QuotaExceeded; Failed when Nova gave up."""
        volume = self.reader.require_volume(volume_id)
        attached = self.reader.volumes.attached(server_id)
        if attached is None:
            raise NotFound(f"Nova knows no server {server_id}")
        if volume_id not in attached:
            self._attach(volume, server_id)
            volume = self.reader.require_volume(volume_id)
        if server_id not in _server_ids(volume):
            raise self.reader.failure(f"Nova could not attach volume {volume_id} to server {server_id}", volume_id)

    def _attach(self, volume: CinderVolume, server_id: str) -> None:
        if others := _server_ids(volume):
            raise Conflict(
                f"volume {volume.id} is attached to server {', '.join(others)}",
                "it will be attached once it is detached there",
            )
        if volume.status != "available":
            raise Conflict(f"volume {volume.id} cannot be attached: it is in status {volume.status}")
        try:
            self.reader.volumes.attach(server_id, volume.id)
        except QuotaExceeded as error:
            raise QuotaExceeded(
                f"server {server_id} has as many disks as it can: {error.message}",
                "move a pod that has a volume to another node, or add a node",
            ) from error

    def unpublish(self, volume_id: str, server_id: str) -> None:
        """Does nothing when it is not attached; TimedOut while it is detaching."""
        attached = self.reader.volumes.attached(server_id)
        if attached is None:
            self._delete_attachments(volume_id, server_id)
        elif volume_id in attached:
            self._detach(volume_id, server_id)

    def _detach(self, volume_id: str, server_id: str) -> None:
        volume = self.reader.read_volume(volume_id)
        if volume is None or not (volume.attachments or self._is_attached(volume_id, server_id)):
            return  # it was detaching, and is detached
        try:
            self.reader.volumes.detach(server_id, volume_id)
        except NotFound:
            return  # another client was faster
        self.reader.waiter.until(
            lambda: self._is_attached(volume_id, server_id),
            lambda is_attached: not is_attached,
            f"volume {volume_id} is still attached to server {server_id}",
        )

    def _is_attached(self, volume_id: str, server_id: str) -> bool:
        return volume_id in (self.reader.volumes.attached(server_id) or ())

    def _delete_attachments(self, volume_id: str, server_id: str) -> None:
        """Delete Cinder's attachments to a deleted server: Nova detaches its volumes, but it may have failed to."""
        volume = self.reader.volumes.get(volume_id)
        for attachment in volume.attachments if volume else ():
            if attachment.server == server_id:
                with suppress(NotFound):  # Nova was faster
                    self.reader.volumes.delete_attachment(attachment.id)


def _server_ids(volume: CinderVolume) -> list[str]:
    return [attachment.server for attachment in volume.attachments]
