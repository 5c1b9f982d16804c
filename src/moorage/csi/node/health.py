"""Size, usage and condition of a volume in use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moorage.csi.codes import words
from moorage.host.filesystems import Filesystems, Mounted, Usage
from moorage.model.errors import MoorageError, NotFound, TimedOut


@dataclass(frozen=True)
class Health:
    """`size` in bytes of a block device; `usage` of a file system; `fault` "" for none known."""

    size: int = 0
    usage: Usage | None = None
    fault: str = ""


def health(files: Filesystems, device: Path | None, path: Path) -> Health:
    """Examine what is mounted at a path.

    NotFound when it is not that device, or when nothing is (`device` None: deleted).
    """
    found = files.mounted(path)
    if found is None or (device is not None and found.device != files.number(device)):
        raise NotFound(f"the volume is not mounted at {path}")
    if device is None:
        return Health(fault="the volume's device has disappeared from the node while it is mounted")
    if found.kind == "block":
        return Health(size=files.size(device))
    return _file_system(files, path)


def _file_system(files: Filesystems, path: Path) -> Health:
    fault = files.complaint(path)
    try:
        return Health(usage=files.usage(path), fault=fault)
    except MoorageError as error:
        return Health(fault=fault or words(error))


def expand(files: Filesystems, device: Path, paths: tuple[Path, ...], required: int) -> int:
    """Grow what is on the device to the device's size; returns the device's bytes.

    `paths` are its mount points, the best first. NotFound when it is mounted at none of them; TimedOut while the device
    is smaller than `required` bytes; InUse when the file system cannot grow while it is mounted. A read-only mount
    grows when it is staged as writable.
    """
    places = [(path, found) for path in paths if (found := _of(files, device, path))]
    if not places:
        raise NotFound(f"{device} is not mounted at {' or '.join(map(str, paths))}")
    files.rescan(device)
    size = files.size(device)
    if size < required:
        raise TimedOut(
            f"{device} has {size} bytes, and not {required} yet", "the node has not been notified of the new size yet"
        )
    path, found = next(((path, found) for path, found in places if not found.read_only), places[0])
    if found.kind != "block" and not found.read_only:
        files.grow(device, path, found.kind)
    return size


def _of(files: Filesystems, device: Path, path: Path) -> Mounted | None:
    number = files.number(device)
    if number is not None and files.number(path) == number:
        return Mounted(number, "block")
    found = files.mounted(path)
    return found if found and found.device == number else None
