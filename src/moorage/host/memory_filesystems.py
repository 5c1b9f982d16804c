"""The port `Filesystems` in memory, for tests without root and without Linux."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moorage.host.filesystems import Damaged, InUse, Mounted, Usage
from moorage.model.errors import Conflict, Failed, NotFound

INODE = 16384  # bytes of a file system for each inode


@dataclass
class Disk:
    """A disk. `size` in bytes, `known_size` the one that the kernel knows, `filled` the size of its file system.

    Faults that a test may set: `damaged`, or `stopped` by the kernel after an error.
    """

    number: int
    size: int
    known_size: int = 0
    signature: str = ""
    filled: int = 0
    damaged: bool = False
    stopped: bool = False

    def __post_init__(self) -> None:
        self.known_size = self.known_size or self.size


@dataclass(frozen=True)
class Mount:
    """A mount of a disk's file system, or a disk bound to a file, with its options."""

    disk: Disk
    kind: str
    options: tuple[str, ...]


@dataclass
class MemoryFilesystems:
    """A host that keeps its state.

    `open` are targets in which a process has a file open: a test may add some, or make a mounted ext4 unable to grow
    (`grows_ext4`).
    """

    disks: dict[Path, Disk] = field(default_factory=dict)
    mounts: dict[Path, list[Mount]] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)
    open: set[Path] = field(default_factory=set)
    grows_ext4: bool = True

    def add(self, device: Path, size: int) -> Disk:
        """Add a blank disk."""
        self.disks[device] = Disk(1792 + len(self.disks), size)
        return self.disks[device]

    def number(self, device: Path) -> int | None:
        bound = [mount.disk for mount in self.mounts.get(device, ()) if mount.kind == "block"]
        disk = bound[-1] if bound else self.disks.get(device)
        return disk.number if disk else None

    def size(self, device: Path) -> int:
        return self._disk(device).known_size

    def rescan(self, device: Path) -> None:
        self._disk(device).known_size = self._disk(device).size

    def signature(self, device: Path) -> str:
        return self._disk(device).signature

    def format(self, device: Path, kind: str) -> None:
        disk = self._disk(device)
        if disk.signature:
            raise Conflict(f"{device} has {disk.signature} and is not formatted")
        disk.signature, disk.filled = kind, disk.known_size

    def repair(self, device: Path, kind: str) -> None:
        if self.targets(device):
            raise InUse(f"{device} is in use")
        if kind == "ext4":
            self._check_undamaged(device)

    def mount(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        disk = self._disk(device)
        if target not in self.folders:
            raise Failed(f"mounting {device}: mount point {target} does not exist")
        if disk.signature != kind:
            raise Failed(f"mounting {device}: wrong fs type, bad option, bad superblock on {device}")
        self._check_undamaged(device)
        self.mounts.setdefault(target, []).append(Mount(disk, kind, tuple(options)))

    def bind(self, source: Path, target: Path) -> None:
        if target not in self.folders | self.files:
            raise NotFound(f"binding {source} to {target}: {target} does not exist")
        if source in self.disks:
            mount = Mount(self.disks[source], "block", ())
        elif self.mounts.get(source):
            mount = self.mounts[source][-1]
        else:
            raise NotFound(f"binding {source} to {target}: {source} does not exist")
        self.mounts.setdefault(target, []).append(mount)

    def make_read_only(self, target: Path) -> None:
        if not self.mounts.get(target):
            raise Failed(f"making {target} read-only: it is not a mount")
        topmost = self.mounts[target].pop()
        self.mounts[target].append(Mount(topmost.disk, topmost.kind, (*topmost.options, "ro")))

    def unmount(self, target: Path) -> None:
        if target in self.open:
            raise InUse(f"unmounting {target}: Device or resource busy")
        if self.mounts.get(target):
            self.mounts[target].pop()

    def mounted(self, target: Path) -> Mounted | None:
        if not self.mounts.get(target):
            return None
        topmost = self.mounts[target][-1]
        return Mounted(topmost.disk.number, topmost.kind, "ro" in topmost.options)

    def targets(self, device: Path) -> list[Path]:
        number = self.number(device)
        return [target for target, mounts in self.mounts.items() for mount in mounts if mount.disk.number == number]

    def grow(self, device: Path, target: Path, kind: str) -> None:
        if self.mounted(target) is None:
            raise Failed(f"growing the {kind} at {target}: it is not a mount")
        disk = self._disk(device)
        if kind == "ext4" and not self.grows_ext4 and disk.filled < disk.known_size:
            raise InUse(f"this node cannot grow the ext4 at {target} while it is in use")
        disk.filled = disk.known_size

    def grow_unmounted(self, device: Path, kind: str) -> None:
        if kind == "ext4":
            self.repair(device, kind)
            self._disk(device).filled = self._disk(device).known_size

    def usage(self, target: Path) -> Usage:
        if not self.mounts.get(target):
            raise NotFound(f"reading the usage of {target}: {target} does not exist")
        size = self.mounts[target][-1].disk.filled
        return Usage(size, size, 0, size // INODE, size // INODE)

    def problem(self, target: Path) -> str:
        stopped = any(mount.disk.stopped for mount in self.mounts.get(target, [])[-1:])
        return "the kernel stopped writing to it after an error" if stopped else ""

    def make_folder(self, path: Path) -> None:
        self.folders |= {path, *path.parents}

    def make_file(self, path: Path) -> None:
        self.make_folder(path.parent)
        self.files.add(path)

    def remove(self, path: Path) -> None:
        if self.mounts.get(path):
            raise InUse(f"removing {path}: Device or resource busy")
        if any(path in other.parents for other in self.folders | self.files):
            raise Failed(f"removing {path}: Directory not empty")
        self.folders.discard(path)
        self.files.discard(path)

    def _disk(self, device: Path) -> Disk:
        if device not in self.disks:
            raise NotFound(f"reading {device}: {device} does not exist")
        return self.disks[device]

    def _check_undamaged(self, device: Path) -> None:
        if self._disk(device).damaged:
            raise Damaged(f"the file system on {device} is damaged", f"repair it with `fsck {device}`")
