"""The port for block devices, their file systems and mounts.

Devices and targets are paths; sizes are bytes. Every method may raise Failed with the program's output, NotFound for a
missing path, and more where stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moorage.model.errors import Conflict, Failed

KINDS = ("ext4", "xfs")
"""The file systems that can be created."""


class Damaged(Failed):
    """A file system that an operator must examine before use; it was not changed further."""


class InUse(Conflict):
    """A process has files open below a mount, or uses the device."""


@dataclass(frozen=True)
class Mounted:
    """A mount at a path. `device` is the number (st_rdev) of its block device.

    `kind` is the file system's type, or `block` for a device that is bound to a file. `read_only` is that of this
    mount: other mounts of the same file system may differ.
    """

    device: int
    kind: str
    read_only: bool = False


@dataclass(frozen=True)
class Usage:
    """Usage of a file system: bytes and inodes, total and available for unprivileged users."""

    size: int
    free: int
    used: int
    inodes: int
    inodes_free: int


class Filesystems(Protocol):
    """The block devices and mounts of one Linux host."""

    def number(self, device: Path) -> int | None:
        """The number (st_rdev) of a block device; None when the path is not a block device."""
        ...

    def size(self, device: Path) -> int: ...

    def rescan(self, device: Path) -> None:
        """Make the kernel read the disk's size again, for disks that do not notify it."""
        ...

    def signature(self, device: Path) -> str:
        """What is on the device: `ext4`, `xfs`, another name of blkid(8), or `data` for unknown data.

        "" when it is blank. An XFS with interrupted creation counts as blank: its superblock says so, no kernel mounts
        it, and so nothing was ever written to it.
        """
        ...

    def format(self, device: Path, kind: str) -> None:
        """Create a file system on a blank device; Conflict, without a change, when it has any signature; InUse."""
        ...

    def repair(self, device: Path, kind: str) -> None:
        """Repair an unmounted file system, for example after a power failure.

        Damaged when that is not possible; InUse.
        """
        ...

    def mount(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        """Mount a device on an existing folder; Damaged, InUse."""
        ...

    def bind(self, source: Path, target: Path) -> None:
        """Bind mount `source` on `target`, a folder on a folder or a file on a file."""
        ...

    def make_read_only(self, target: Path) -> None:
        """Make one bind mount read-only and keep its other options."""
        ...

    def unmount(self, target: Path) -> None:
        """Unmount the topmost mount, with its data written; does nothing without a mount; InUse."""
        ...

    def mounted(self, target: Path) -> Mounted | None:
        """The topmost mount at exactly this path, with links in its folders resolved."""
        ...

    def targets(self, device: Path) -> list[Path]:
        """The visible mount points of the device's file system and of the device itself."""
        ...

    def grow(self, device: Path, target: Path, kind: str) -> None:
        """Grow the file system mounted at `target`, which may be in use, to its device's size.

        InUse where the kernel grows only unmounted ones: ext4 in a container without CAP_SYS_RESOURCE.
        """
        ...

    def grow_unmounted(self, device: Path, kind: str) -> None:
        """Grow an unmounted file system to its device's size; does nothing for XFS, which grows only mounted.

        Damaged, InUse.
        """
        ...

    def usage(self, target: Path) -> Usage: ...

    def problem(self, target: Path) -> str:
        """The known problem of the file system mounted here; "" when there is none."""
        ...

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents; does nothing when it exists."""
        ...

    def make_file(self, path: Path) -> None:
        """Create an empty file and its parent folders; does nothing when it exists."""
        ...

    def remove(self, path: Path) -> None:
        """Delete an empty folder or a file; does nothing when it does not exist. Never deletes a folder's content."""
        ...
