"""Size, usage and condition of a volume in use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moorage.csi.serve import format_error
from moorage.host.filesystems import Filesystems, Mounted, Usage
from moorage.model.errors import MoorageError, NotFound, TimedOut


@dataclass(frozen=True)
class Health:
    """`size` in bytes of a block device; `usage` of a file system; `fault` "" for none known."""

    size: int = 0
    usage: Usage | None = None
    fault: str = ""


def read_health(files: Filesystems, device: Path | None, path: Path) -> Health:
    """The health of the volume at a path; `device` is None for a volume with a device that has disappeared.

    NotFound when nothing is mounted there, or another device.
    """
    mount = files.mounted(path)
    if mount is None or (device is not None and mount.device != files.number(device)):
        raise NotFound(f"the volume is not mounted at {path}")
    if device is None:
        return Health(fault="the volume's device has disappeared from the node while it is mounted")
    if mount.kind == "block":
        return Health(size=files.size(device))
    return _read_file_system(files, path)


def _read_file_system(files: Filesystems, path: Path) -> Health:
    fault = files.problem(path)
    try:
        return Health(usage=files.usage(path), fault=fault)
    except MoorageError as error:
        return Health(fault=fault or format_error(error))


def expand(files: Filesystems, device: Path, paths: tuple[Path, ...], required: int) -> int:
    """Grow what is on the device to the device's size; returns the device's bytes.

    `paths` are its mount points, the best first. NotFound when it is mounted at none of them; TimedOut while the device
    is smaller than `required` bytes; InUse when the file system cannot grow while it is mounted. A read-only mount
    grows when it is staged as writable.
    """
    mounts = [(path, mount) for path in paths if (mount := _find_mount(files, device, path))]
    if not mounts:
        raise NotFound(f"{device} is not mounted at {' or '.join(map(str, paths))}")
    files.rescan(device)
    size = files.size(device)
    if size < required:
        raise TimedOut(
            f"{device} has {size} bytes, and not {required} yet", "the node has not been notified of the new size yet"
        )
    path, mount = next(((path, mount) for path, mount in mounts if not mount.read_only), mounts[0])
    if mount.kind != "block" and not mount.read_only:
        files.grow(device, path, mount.kind)
    return size


def _find_mount(files: Filesystems, device: Path, path: Path) -> Mounted | None:
    number = files.number(device)
    if number is not None and files.number(path) == number:
        return Mounted(number, "block")
    mount = files.mounted(path)
    return mount if mount and mount.device == number else None
