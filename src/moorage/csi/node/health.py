"""A volume in use: how large, how full, how well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moorage.csi.codes import words
from moorage.host.filesystems import Filesystems, Mounted, Usage
from moorage.model.errors import MoorageError, NotFound, TimedOut


@dataclass(frozen=True)
class Health:
    """`size` in bytes of a volume that is a block device; `usage` of a file system; `fault` "" for none known."""

    size: int = 0
    usage: Usage | None = None
    fault: str = ""


def health(files: Filesystems, device: Path | None, path: Path) -> Health:
    """Look at what is mounted at a path; NotFound when it is not that device's, None for one that has vanished."""
    found = files.mounted(path)
    if found is None or (device is not None and found.device != files.number(device)):
        raise NotFound(f"the volume is not at {path}")
    if device is None:
        return Health(fault="the volume's device has vanished from the node while it is mounted")
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
    """Let what the device holds fill it; the device's bytes.

    `paths` are where it is mounted, the best first. NotFound when it is at none of them; TimedOut while the device is
    smaller than `required` bytes; InUse where a file system does not grow in use. One that is mounted read-only grows
    when it is staged to be written.
    """
    places = [(path, found) for path in paths if (found := _of(files, device, path))]
    if not places:
        raise NotFound(f"{device} is not at {' or '.join(map(str, paths))}")
    files.rescan(device)
    size = files.size(device)
    if size < required:
        raise TimedOut(f"{device} has {size} bytes and not yet {required}", "the cloud has not told the node so far")
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
