"""The port `Filesystems` on this machine: mount(2), util-linux, e2fsprogs and xfsprogs."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from moorage.host import kernel, mountinfo, signatures
from moorage.host.disk_programs import check_result, fsck, run_checked, translating_errors
from moorage.host.filesystems import InUse, Mounted, Usage
from moorage.host.run import attempt
from moorage.model.errors import Conflict

BLOCKS = Path("/sys/dev/block")
EXT4 = Path("/sys/fs/ext4")
DEVICE_NODE_KINDS = ("devtmpfs", "tmpfs")  # file systems that have device nodes, which are bound to files
REPEATED_OPTIONS = {
    "nosuid": kernel.NOSUID,
    "nodev": kernel.NODEV,
    "noexec": kernel.NOEXEC,
    "noatime": kernel.NOATIME,
    "nodiratime": kernel.NODIRATIME,
    "relatime": kernel.RELATIME,
}
"""Options of a mount that a remount removes unless it repeats them (mount(2))."""
MKFS = {"ext4": ("mkfs.ext4", "-q", "-m", "0"), "xfs": ("mkfs.xfs", "-q")}
"""mkfs.xfs checks for signatures, too. No blocks are reserved for root, because pods are the users."""


class LinuxFilesystems:
    """This host, as the calling thread's mount namespace shows it."""

    def number(self, device: Path) -> int | None:
        try:
            status = device.stat()
        except OSError:
            return None
        return status.st_rdev if stat.S_ISBLK(status.st_mode) else None

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
        if existing := self.signature(device):
            raise Conflict(f"{device} has {existing} and is not formatted")
        with translating_errors(f"blanking {device}"):
            signatures.blank_unfinished_xfs(device)
        run_checked(f"creating {kind} on {device}", *MKFS[kind], str(device))

    def repair(self, device: Path, kind: str) -> None:
        if kind == "ext4":  # XFS is repaired when it is mounted
            fsck(device)

    def mount(self, device: Path, target: Path, kind: str, options: Sequence[str]) -> None:
        arguments = ("-o", ",".join(options)) if options else ()
        run_checked(f"mounting {device}", "mount", "-t", kind, *arguments, str(device), str(target))

    def bind(self, source: Path, target: Path) -> None:
        with translating_errors(f"binding {source} to {target}"):
            kernel.bind(source, target)

    def make_read_only(self, target: Path) -> None:
        line = mountinfo.topmost(mountinfo.read(), target)
        flags = sum(flag for name, flag in REPEATED_OPTIONS.items() if line and name in line.options)
        with translating_errors(f"making {target} read-only"):
            kernel.mount("", target, flags=kernel.BIND | kernel.REMOUNT | kernel.RDONLY | flags)

    def unmount(self, target: Path) -> None:
        if mountinfo.topmost(mountinfo.read(), target):
            with translating_errors(f"unmounting {target}"):
                kernel.unmount(target)

    def mounted(self, target: Path) -> Mounted | None:
        line = mountinfo.topmost(mountinfo.read(), target)
        if line is None:
            return None
        device = self._bound_device(line)
        return Mounted(device or line.device, "block" if device else line.kind, "ro" in line.options)

    def targets(self, device: Path) -> list[Path]:
        number = self.number(device)
        return [Path(line.target) for line in mountinfo.read() if number in (line.device, self._bound_device(line))]

    def _bound_device(self, line: mountinfo.Line) -> int | None:
        return self.number(Path(line.target)) if line.kind in DEVICE_NODE_KINDS else None

    def grow(self, device: Path, target: Path, kind: str) -> None:
        command = ("xfs_growfs", str(target)) if kind == "xfs" else ("resize2fs", str(device))
        code, output = attempt(*command)
        if "Permission denied to resize" in output:
            raise InUse(
                f"this node cannot grow the {kind} at {target} while it is in use: it lacks CAP_SYS_RESOURCE",
                "it grows when it is mounted next: delete the pods that use it and start them again",
            )
        check_result(f"growing the {kind} at {target}", code, output)

    def grow_unmounted(self, device: Path, kind: str) -> None:
        if kind != "ext4":
            return
        code, output = attempt("resize2fs", str(device))
        if code and "e2fsck -f" in output:  # resize2fs requires a full check, but only when it can grow
            fsck(device, "-f")
            code, output = attempt("resize2fs", str(device))
        check_result(f"growing the ext4 on {device}", code, output)

    def usage(self, target: Path) -> Usage:
        with translating_errors(f"reading the usage of {target}"):
            status = os.statvfs(target)
        unit = status.f_frsize
        used = (status.f_blocks - status.f_bfree) * unit
        return Usage(status.f_blocks * unit, status.f_bavail * unit, used, status.f_files, status.f_favail)

    def problem(self, target: Path) -> str:
        line = mountinfo.topmost(mountinfo.read(), target)
        if line is None:
            return ""
        file_system = line.super_options
        if file_system & {"shutdown", "emergency_ro", "abort"} or ("ro" in file_system and "rw" in line.options):
            return f"the kernel stopped writing to this {line.kind} after an error"
        try:
            os.listdir(target)
        except OSError as error:
            return f"this {line.kind} cannot be read: {error.strerror}"
        return _recorded_errors(line.device)

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


def _recorded_errors(device: int) -> str:
    """Errors recorded in an ext4's superblock since its last repair."""
    name = (BLOCKS / f"{os.major(device)}:{os.minor(device)}").resolve().name
    try:
        count = int((EXT4 / name / "errors_count").read_text())
    except (OSError, ValueError):  # another type of file system, or a /sys that does not show it
        return ""
    return f"this ext4 has recorded {count} errors: it is repaired when it is staged again" if count else ""
