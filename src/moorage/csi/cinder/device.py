"""The device names of a Cinder volume on a node, without a request to the cloud.

Nova sets the volume's id as the disk's serial. virtio-blk keeps the first 20 characters of a serial
(VIRTIO_BLK_ID_BYTES in linux/virtio_blk.h), QEMU's SCSI disks keep 20 or 36 by version; udev creates the names.
"""

from __future__ import annotations

from pathlib import Path

from moorage.model.errors import TimedOut

BY_ID = Path("/dev/disk/by-id")
SERIAL = 20


def device_names(volume: str) -> tuple[str, ...]:
    """The possible names of a volume below /dev/disk/by-id, the usual one first."""
    short = volume[:SERIAL]
    return (f"virtio-{short}", f"scsi-0QEMU_QEMU_HARDDISK_{short}", f"scsi-0QEMU_QEMU_HARDDISK_{volume}")


def find_device(volume: str, folder: Path = BY_ID) -> Path:
    """The volume's block device, with links resolved; TimedOut when it does not exist, or not yet: try again."""
    for name in device_names(volume):
        if (folder / name).exists():
            return (folder / name).resolve()
    raise TimedOut(
        f"volume {volume} is attached, but {folder / device_names(volume)[0]} has not appeared on this node",
        "find the disk with `lsblk -o NAME,SERIAL` on the node",
    )
