"""Loop devices: the files of volumes, as block devices for machines."""

from __future__ import annotations

import os
from pathlib import Path

from moorage.host.run import run


def devices(file: Path | str) -> list[str]:
    """The loop devices of a file, such as `/dev/loop3`."""
    return run("losetup", "--noheadings", "--output", "NAME", "--associated", str(file)).split()


def attach(file: Path | str) -> None:
    """Attach a loop device to a file; does nothing when it has one."""
    if not devices(file):
        run("losetup", "--find", str(file))


def detach(file: Path | str) -> None:
    """Detach a file's loop device once no process has it open; does nothing when it has none."""
    for device in devices(file):
        run("losetup", "--detach", device)


def grow(file: Path | str) -> None:
    """Update a file's loop device to the file's new size."""
    for device in devices(file):
        run("losetup", "--set-capacity", device)


def number(file: Path | str) -> int:
    """The device number of a file's loop device; FileNotFoundError when it has none."""
    attached = devices(file)
    if not attached:
        raise FileNotFoundError(f"no loop device is attached to {file}")
    return os.stat(attached[0]).st_rdev
