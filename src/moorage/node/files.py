"""Files that are written completely or not at all, also in a power failure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class File:
    """A file's text, and who may read it.

    `rewritten_at_boot` is for files that every boot writes again: their data may reach the disk after their name.
    """

    text: str
    mode: int = 0o644
    rewritten_at_boot: bool = False


def write(path: Path, file: File) -> bool:
    """Write a file; False when it had that text already. Readers see the old or the new text completely."""
    if _holds(path, file):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode), "w") as stream:
        os.fchmod(stream.fileno(), file.mode)
        stream.write(file.text)
        stream.flush()
        if not file.rewritten_at_boot:
            os.fsync(stream.fileno())
    partial.rename(path)
    return True


def write_all(files: Mapping[Path, File]) -> list[Path]:
    """Write those that differ, in order, and return them."""
    return [path for path, file in files.items() if write(path, file)]


def sync(path: Path) -> None:
    """Wait until a file, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link, in one step."""
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(path)


def _holds(path: Path, file: File) -> bool:
    try:
        return path.read_text() == file.text and path.stat().st_mode & 0o7777 == file.mode
    except (FileNotFoundError, UnicodeDecodeError):
        return False
