"""Bring a volume to a server and take it away again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from moorage.cloud.volumes import CinderVolume
from moorage.csi.cinder.reader import VolumeReader
from moorage.model.errors import Conflict, NotFound, QuotaExceeded


@dataclass(frozen=True)
class Attach:
    """Nova says what is at a server, also what is on its way; Cinder says when it has arrived."""

    reader: VolumeReader

    def publish(self, volume: str, server: str) -> None:
        """NotFound, Conflict, QuotaExceeded; Failed when Nova gave it up."""
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
            raise Conflict(f"volume {seen.id} is at server {', '.join(others)}", "it comes once it is free there")
        if seen.status != "available":
            raise Conflict(f"volume {seen.id} cannot be attached: it is in status {seen.status}")
        try:
            self.reader.volumes.attach(server, seen.id)
        except QuotaExceeded as error:
            raise QuotaExceeded(
                f"server {server} holds as many disks as it can: {error.message}",
                "move a pod that has a volume to another node, or add a node",
            ) from error

    def unpublish(self, volume: str, server: str) -> None:
        """Nothing when it is not there; TimedOut while it is on its way."""
        held = self.reader.volumes.attached(server)
        if held is None:
            self._forget(volume, server)
        elif volume in held:
            self._take(volume, server)

    def _take(self, volume: str, server: str) -> None:
        seen = self.reader.volume(volume)
        if seen is None or not (seen.attachments or self._held(volume, server)):
            return  # it was on its way, and has gone
        try:
            self.reader.volumes.detach(server, volume)
        except NotFound:
            return  # somebody was faster
        self.reader.waiter.until(
            lambda: self._held(volume, server),
            lambda held: not held,
            f"volume {volume} is still at server {server}",
        )

    def _held(self, volume: str, server: str) -> bool:
        return volume in (self.reader.volumes.attached(server) or ())

    def _forget(self, volume: str, server: str) -> None:
        """Nova lets go of the volumes of a server that it deletes; where it did not, Cinder is told."""
        seen = self.reader.volumes.get(volume)
        for attachment in seen.attachments if seen else ():
            if attachment.server == server:
                with suppress(NotFound):  # Nova was faster
                    self.reader.volumes.delete_attachment(attachment.id)


def _servers(seen: CinderVolume) -> list[str]:
    return [attachment.server for attachment in seen.attachments]
