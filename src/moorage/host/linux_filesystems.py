"""The port `Filesystems` on this machine: mount(2), util-linux, e2fsprogs and xfsprogs."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from moorage.host import kernel, mountinfo, signatures
from moorage.host.disk_programs import checked, fsck, must, translating_errors
from moorage.host.filesystems import InUse, Mounted, Usage
from moorage.host.run import attempt
from moorage.model.errors import Conflict

BLOCKS = Path("/sys/dev/block")
EXT4 = Path("/sys/fs/ext4")
DEVICE_FOLDERS = ("devtmpfs", "tmpfs")  # folders with the device nodes that are bound to files
KEPT = {
    "nosuid": kernel.NOSUID,
    "nodev": kernel.NODEV,
    "noexec": kernel.NOEXEC,
    "noatime": kernel.NOATIME,
    "nodiratime": kernel.NODIRATIME,
    "relatime": kernel.RELATIME,
}
"""Options of a mount that a remount removes unless it repeats them (mount(2))."""
MAKE = {"ext4": ("mkfs.ext4", "-q", "-m", "0"), "xfs": ("mkfs.xfs", "-q")}
"""mkfs.xfs checks for signatures, too. No blocks are reserved for root, because pods are the users."""


class LinuxFilesystems:
    """This host, as the calling thread's mount namespace shows it."""

    def number(self, device: Path) -> int | None:
        try:
            found = device.stat()
        except OSError:
            return None
        return found.st_rdev if stat.S_ISBLK(found.st_mode) else None

    def size(self, device: Path) -> int:
        with translating_errors(f"reading the size of {device}"), device.open("rb", buffering=0) as file:
            return file.seek(0, os.SEEK_END)

    def rescan(self, device: Path) -> None:
        file = self._kernel_name(device) / "device/rescan"
        if file.exists():  # SCSI; virtio notifies the kernel
            with translating_errors(f"rescanning {device}"):
                file.write_text("1")

    def signature(self, device: Path) -> str:
        with translating_errors(f"reading {device}"):
            return signatures.signature(device)

    def format(self, device: Path, kind: str) -> None:
        if found := self.signature(device):
            raise Conflict(f"{device} has {found} and is not formatted")
        with translating_errors(f"blanking {device}"):
            signatures.forget_unfinished(device)
        must(f"creating {kind} on {device}", *MAKE[kind], str(device))

    def repair(self, device: Path, kind: str) -> None:
        if kind == "ext4":  # XFS is repaired when it is mounted
            fsck(device)

    def mount(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        chosen = ("-o", ",".join(options)) if options else ()
        must(f"mounting {device}", "mount", "-t", kind, *chosen, str(device), str(target))

    def bind(self, source: Path, target: Path) -> None:
        with translating_errors(f"binding {source} to {target}"):
            kernel.bind(source, target)

    def make_read_only(self, target: Path) -> None:
        line = mountinfo.topmost(mountinfo.read(), target)
        kept = sum(flag for name, flag in KEPT.items() if line and name in line.options)
        with translating_errors(f"making {target} read-only"):
            kernel.mount("", target, flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY | kept)

    def unmount(self, target: Path) -> None:
        if mountinfo.topmost(mountinfo.read(), target):
            with translating_errors(f"unmounting {target}"):
                kernel.unmount(target)

    def mounted(self, target: Path) -> Mounted | None:
        line = mountinfo.topmost(mountinfo.read(), target)
        if line is None:
            return None
        bound = self._bound(line)
        return Mounted(bound or line.device, "block" if bound else line.kind, "ro" in line.options)

    def targets(self, device: Path) -> list[Path]:
        number = self.number(device)
        return [Path(line.target) for line in mountinfo.read() if number in (line.device, self._bound(line))]

    def _bound(self, line: mountinfo.Line) -> int | None:
        return self.number(Path(line.target)) if line.kind in DEVICE_FOLDERS else None

    def grow(self, device: Path, target: Path, kind: str) -> None:
        words = ("xfs_growfs", str(target)) if kind == "xfs" else ("resize2fs", str(device))
        code, output = attempt(*words)
        if "Permission denied to resize" in output:
            raise InUse(
                f"this node cannot grow the {kind} at {target} while it is in use: it lacks CAP_SYS_RESOURCE",
                "it grows when it is mounted next: delete the pods that use it and start them again",
            )
        checked(f"growing the {kind} at {target}", code, output)

    def grow_unmounted(self, device: Path, kind: str) -> None:
        if kind != "ext4":
            return
        code, output = attempt("resize2fs", str(device))
        if code and "e2fsck -f" in output:  # resize2fs requires a full check first, so only when there is space to gain
            fsck(device, "-f")
            code, output = attempt("resize2fs", str(device))
        checked(f"growing the ext4 on {device}", code, output)

    def usage(self, target: Path) -> Usage:
        with translating_errors(f"reading the usage of {target}"):
            found = os.statvfs(target)
        unit = found.f_frsize
        used = (found.f_blocks - found.f_bfree) * unit
        return Usage(found.f_blocks * unit, found.f_bavail * unit, used, found.f_files, found.f_favail)

    def complaint(self, target: Path) -> str:
        line = mountinfo.topmost(mountinfo.read(), target)
        if line is None:
            return ""
        if line.whole & {"shutdown", "emergency_ro", "abort"} or ("ro" in line.whole and "rw" in line.options):
            return f"the kernel stopped writing to this {line.kind} after an error"
        try:
            os.listdir(target)
        except OSError as error:
            return f"this {line.kind} cannot be read: {error.strerror}"
        return _recorded(line.device)

    def make_folder(self, path: Path) -> None:
        with translating_errors(f"creating the folder {path}"):
            path.mkdir(mode=0o750, parents=True, exist_ok=True)

    def make_file(self, path: Path) -> None:
        self.make_folder(path.parent)
        with translating_errors(f"creating the file {path}"):
            path.touch(mode=0o640)

    def remove(self, path: Path) -> None:
        with translating_errors(f"removing {path}"):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

    def _kernel_name(self, device: Path) -> Path:
        number = self.number(device) or 0
        return BLOCKS / f"{os.major(number)}:{os.minor(number)}"


def _recorded(device: int) -> str:
    """Errors recorded in an ext4's superblock since its last repair."""
    name = (BLOCKS / f"{os.major(device)}:{os.minor(device)}").resolve().name
    try:
        count = int((EXT4 / name / "errors_count").read_text())
    except (OSError, ValueError):  # another type of file system, or a /sys that does not show it
        return ""
    return f"this ext4 has recorded {count} errors: it is repaired when it is staged again" if count else ""
