"""The record of slots on the boot partition, as moorage-node reads and writes it."""

from __future__ import annotations

import fcntl
import os

from moorage.model.boot import DISK, RECORD, SQUASHFS, BootRecord
from moorage.model.errors import Failed
from moorage.node import files
from moorage.node.layout import Layout

MODULES = "modules.squashfs"
"""In the slots of servers with a kernel of their own, which GRUB boots."""
FREEZE, THAW = 0xC0045877, 0xC0045878
"""ioctls of file systems: FIFREEZE and FITHAW in linux/fs.h."""


def read_record(layout: Layout) -> BootRecord:
    """The record; Failed when the machine has none, or a damaged one."""
    file = layout.boot / RECORD
    try:
        return BootRecord.parse(file.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise Failed(f"{file}: {error}", "reboot: the boot writes it again") from error


def write_record(layout: Layout, record: BootRecord) -> None:
    """Replace the record, so that GRUB reads it also after a power failure.

    GRUB reads the file system without its journal, and writes its counters into the blocks that it finds so.
    """
    file = layout.boot / RECORD
    files.write(file, files.File(record.content().decode()))
    files.sync(file.parent)
    if has_own_kernel(layout):
        _write_back_journal(layout)


def booted_slot(layout: Layout) -> str:
    """The name of the slot that was booted."""
    return layout.boot_slot.read_text().strip()


def format_of(layout: Layout) -> str:
    """The format of images that this machine boots."""
    return DISK if has_own_kernel(layout) else SQUASHFS


def has_own_kernel(layout: Layout) -> bool:
    """Whether GRUB booted this machine: a machine container has only a root in its slots, on its host's file system."""
    return any(layout.boot.glob(f"slots/*/{MODULES}"))


def _write_back_journal(layout: Layout) -> None:
    """To freeze a file system empties its journal."""
    folder = os.open(layout.boot, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, FREEZE, 0)
        fcntl.ioctl(folder, THAW, 0)
    finally:
        os.close(folder)
