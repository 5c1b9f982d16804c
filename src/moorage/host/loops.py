"""Loop devices: the files of volumes, as the block devices that machines see."""

from __future__ import annotations

import os
from pathlib import Path

from moorage.host.run import run


def devices(file: Path | str) -> list[str]:
    """The loop devices behind which a file stands, `/dev/loop3`."""
    return run("losetup", "--noheadings", "--output", "NAME", "--associated", str(file)).split()


def attach(file: Path | str) -> None:
    """Give a file a loop device; nothing when it has one."""
    if not devices(file):
        run("losetup", "--find", str(file))


def detach(file: Path | str) -> None:
    """Release a file's loop device, once nobody has it open any more; nothing when it has none."""
    for device in devices(file):
        run("losetup", "--detach", device)


def grow(file: Path | str) -> None:
    """Let a file's loop device see the file's new size."""
    for device in devices(file):
        run("losetup", "--set-capacity", device)


def number(file: Path | str) -> int:
    """The device number of a file's loop device; raises FileNotFoundError when it has none."""
    found = devices(file)
    if not found:
        raise FileNotFoundError(f"no loop device holds {file}")
    return os.stat(found[0]).st_rdev
