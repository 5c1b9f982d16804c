"""The driver's image store: each Glance image that servers use, once, as a file that slots are hard links to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from moorage.local.machine import disks
from moorage.local.machine.translate import Unsupported

SQUASHFS = b"hsqs"  # the magic number of the squashfs on-disk format
AGE = 3600.0


def fetch(context: Any, image: str, state: Path) -> Path:
    """The image's file, downloaded if missing; Unsupported when it is not a squashfs."""
    folder = state / ".images"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{image}.squashfs"
    if file.exists():
        return file
    with disks.locked(folder):
        if not file.exists():
            _download(context, image, file)
    return file


def drop_unused(state: Path, age: float = AGE) -> None:
    """Delete the images that no machine uses, unless they are younger than `age` seconds."""
    for file in (state / ".images").glob("*.squashfs"):
        status = file.stat()
        # A slot is another link to the file. An image that was just downloaded has no machine yet.
        if status.st_nlink == 1 and time.time() - status.st_ctime > age:
            disks.unmount_slot(state, status.st_ino)
            file.unlink()


def _download(context: Any, image: str, file: Path) -> None:
    from nova.image import glance

    partial = file.with_suffix(".partial")
    glance.API().download(context, image, dest_path=str(partial))
    with partial.open("rb") as opened:
        magic = opened.read(4)
    if magic != SQUASHFS:
        partial.unlink()
        reason = f"the image {image} is not a squashfs"
        raise Unsupported(f"{reason}; boot one of `moorage image upload --for container`")
    partial.rename(file)
