"""The device names of a Cinder volume on a node, without a request to the cloud.

Nova sets the volume's id as the disk's serial. virtio-blk keeps the first 20 characters of a serial
(VIRTIO_BLK_ID_BYTES in linux/virtio_blk.h), QEMU's SCSI disks keep 20 or 36 by version; udev creates the names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moorage.model.errors import TimedOut

SERIAL = 20  # characters of a serial that virtio-blk keeps
TIMEOUT = 10.0
"""Seconds to wait for the device of a volume that was just attached; the caller repeats the call after that."""
POLL_INTERVAL = 0.05
MAX_HANDLE = 128  # characters of a handle: CSI's limit for a string


def device_names(volume: str) -> tuple[str, ...]:
    """The possible names of a volume below /dev/disk/by-id, the usual one first."""
    short = volume[:SERIAL]
    return (f"virtio-{short}", f"scsi-0QEMU_QEMU_HARDDISK_{short}", f"scsi-0QEMU_QEMU_HARDDISK_{volume}")


def find_device(volume: str, folder: Path) -> Path:
    """The volume's block device, with links resolved; TimedOut when it does not exist, or not yet: try again."""
    for name in device_names(volume):
        if (folder / name).exists():
            return (folder / name).resolve()
    raise TimedOut(
        f"volume {volume} is attached, but {folder / device_names(volume)[0]} has not appeared on this node",
        "find the disk with `lsblk -o NAME,SERIAL` on the node",
    )


@dataclass(frozen=True)
class CinderAttacher:
    """The port `Attacher`: devices by their names below `folder`; `timeout`, `clock` and `sleep` are in seconds."""

    folder: Path
    timeout: float = TIMEOUT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def find(self, volume: str) -> Path | None:
        """The device, None when it does not exist."""
        try:
            return find_device(volume, self.folder) if len(volume) <= MAX_HANDLE else None
        except TimedOut:
            return None

    def wait_for(self, volume: str) -> Path:
        """The device; TimedOut when it does not appear."""
        end = self.clock() + self.timeout
        while (device := self.find(volume)) is None:
            if self.clock() >= end:
                return find_device(volume, self.folder)
            self.sleep(POLL_INTERVAL)
        return device
