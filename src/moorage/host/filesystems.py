"""The port: block devices, the file systems on them, and where these are mounted.

Devices and targets are paths; sizes are bytes. Every method may raise Failed with what the box said, NotFound for a
path that is not there, and more where stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moorage.model.errors import Conflict, Failed

KINDS = ("ext4", "xfs")
"""The file systems that can be made here."""


class Damaged(Failed):
    """A file system that cannot be used before a person has looked at it; it was not changed further."""


class InUse(Conflict):
    """Somebody has files open below a mount, or holds the device."""


@dataclass(frozen=True)
class Mounted:
    """What is mounted at a path. `device` is the number (st_rdev) of the block device that it leads to.

    `kind` is that of the file system, or `block` where the device itself was bound to a file. `read_only` is that of
    this one mount: others of the same file system may differ.
    """

    device: int
    kind: str
    read_only: bool = False


@dataclass(frozen=True)
class Usage:
    """How full a file system is: bytes and inodes, all and still free for unprivileged users."""

    size: int
    free: int
    used: int
    inodes: int
    inodes_free: int


class Filesystems(Protocol):
    """The block devices and mounts of one Linux box."""

    def number(self, device: Path) -> int | None:
        """The number (st_rdev) of a block device; None when the path is anything else, or nothing."""
        ...

    def size(self, device: Path) -> int: ...

    def rescan(self, device: Path) -> None:
        """Have the kernel ask the disk for its size again, where it is not told by itself."""
        ...

    def signature(self, device: Path) -> str:
        """What the device holds: `ext4`, `xfs`, another name as blkid(8) knows it, or `data` that nobody knows.

        "" when it is blank, which an XFS counts as whose making was cut off: its superblock says so, no kernel mounts
        it, and so nothing was ever written to it.
        """
        ...

    def format(self, device: Path, kind: str) -> None:
        """Make a file system on a blank device; Conflict, and nothing done, when it has any signature; InUse."""
        ...

    def repair(self, device: Path, kind: str) -> None:
        """Bring an unmounted file system into order as after a power failure; Damaged when that does not do; InUse."""
        ...

    def mount(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        """Mount a device on a folder that is there; Damaged, InUse."""
        ...

    def bind(self, source: Path, target: Path) -> None:
        """Make what is at `source` appear at `target` as well, a folder on a folder or a file on a file."""
        ...

    def make_read_only(self, target: Path) -> None:
        """Make one bind mount read-only; its other options stay."""
        ...

    def unmount(self, target: Path) -> None:
        """Take the topmost mount away, its data written; nothing when none is there; InUse."""
        ...

    def mounted(self, target: Path) -> Mounted | None:
        """The topmost mount at exactly this path, links in its folders followed."""
        ...

    def targets(self, device: Path) -> list[Path]:
        """Where the device's file system is mounted, or the device itself bound, as far as it is seen from here."""
        ...

    def grow(self, device: Path, target: Path, kind: str) -> None:
        """Let the file system mounted at `target`, which may be in use, fill its device; nothing when it does.

        InUse where the kernel lets only unmounted ones grow: ext4 in a container without CAP_SYS_RESOURCE.
        """
        ...

    def grow_unmounted(self, device: Path, kind: str) -> None:
        """The same for one that is not mounted; nothing for XFS, which grows mounted only. Damaged, InUse."""
        ...

    def usage(self, target: Path) -> Usage: ...

    def complaint(self, target: Path) -> str:
        """What is wrong with the file system mounted here, in words; "" when nothing is known to be."""
        ...

    def make_folder(self, path: Path) -> None:
        """A folder, and those above it; nothing when it is there."""
        ...

    def make_file(self, path: Path) -> None:
        """An empty file and the folders above it; nothing when it is there."""
        ...

    def remove(self, path: Path) -> None:
        """Remove an empty folder or a file; nothing when it is gone. Never what is in a folder."""
        ...
