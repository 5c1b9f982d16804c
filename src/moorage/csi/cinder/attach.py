"""Attach a volume to a server and detach it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from moorage.cloud.volumes import CinderVolume
from moorage.csi.cinder.reader import VolumeReader
from moorage.model.errors import Conflict, NotFound, QuotaExceeded


@dataclass(frozen=True)
class Attach:
    """Nova knows what is attached or attaching to a server; Cinder knows when a volume is attached."""

    reader: VolumeReader

    def publish(self, volume: str, server: str) -> None:
        """NotFound, Conflict, QuotaExceeded; Failed when Nova gave up."""
        seen = self.reader.there(volume)
        held = self.reader.volumes.attached(server)
        if held is None:
            raise NotFound(f"Nova knows no server {server}")
        if volume not in held:
            self._begin(seen, server)
            seen = self.reader.there(volume)
        if server not in _servers(seen):
            raise self.reader.failed(f"Nova could not attach volume {volume} to server {server}", volume)

    def _begin(self, seen: CinderVolume, server: str) -> None:
        if others := _servers(seen):
            raise Conflict(
                f"volume {seen.id} is attached to server {', '.join(others)}",
                "it will be attached once it is detached there",
            )
        if seen.status != "available":
            raise Conflict(f"volume {seen.id} cannot be attached: it is in status {seen.status}")
        try:
            self.reader.volumes.attach(server, seen.id)
        except QuotaExceeded as error:
            raise QuotaExceeded(
                f"server {server} has as many disks as it can: {error.message}",
                "move a pod that has a volume to another node, or add a node",
            ) from error

    def unpublish(self, volume: str, server: str) -> None:
        """Does nothing when it is not attached; TimedOut while it is detaching."""
        held = self.reader.volumes.attached(server)
        if held is None:
            self._forget(volume, server)
        elif volume in held:
            self._take(volume, server)

    def _take(self, volume: str, server: str) -> None:
        seen = self.reader.volume(volume)
        if seen is None or not (seen.attachments or self._held(volume, server)):
            return  # it was detaching, and is detached
        try:
            self.reader.volumes.detach(server, volume)
        except NotFound:
            return  # another client was faster
        self.reader.waiter.until(
            lambda: self._held(volume, server),
            lambda held: not held,
            f"volume {volume} is still attached to server {server}",
        )

    def _held(self, volume: str, server: str) -> bool:
        return volume in (self.reader.volumes.attached(server) or ())

    def _forget(self, volume: str, server: str) -> None:
        """Nova detaches the volumes of a server that it deletes. Where it did not, delete the attachment in Cinder."""
        seen = self.reader.volumes.get(volume)
        for attachment in seen.attachments if seen else ():
            if attachment.server == server:
                with suppress(NotFound):  # Nova was faster
                    self.reader.volumes.delete_attachment(attachment.id)


def _servers(seen: CinderVolume) -> list[str]:
    return [attachment.server for attachment in seen.attachments]
