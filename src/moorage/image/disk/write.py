"""Write a disk image on a disk of this machine, for a server without a cloud that would do it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.image.disk.build import DiskImage
from moorage.image.run import run
from moorage.model.errors import BadInput, Conflict, Failed

BLKRRPART = 0x125F  # linux/fs.h: read the partition table again
GB = 2**30


@dataclass(frozen=True)
class Target:
    """A disk, as people recognize it. `size` in bytes; `partitions` are what would be lost."""

    device: Path
    size: int
    model: str
    partitions: tuple[str, ...]

    def __str__(self) -> str:
        lost = f", with {', '.join(self.partitions)}" if self.partitions else ""
        return f"{self.device}: {self.size / GB:.0f} GB{f', {self.model}' if self.model else ''}{lost}"


def inspect(device: Path, image: DiskImage) -> Target:
    """The disk, if the image may be written on it. BadInput for another file, or a small disk; Conflict in use."""
    try:
        kind = device.stat().st_mode
    except OSError as error:
        raise BadInput(f"{device}: {error.strerror}", "lsblk lists the disks") from error
    if not stat.S_ISBLK(kind):
        raise BadInput(f"{device} is not a block device", "lsblk lists the disks")
    (found,) = json.loads(run(["lsblk", "--json", "--bytes", "--output", COLUMNS, device]))["blockdevices"]
    if found["type"] == "part":
        raise BadInput(f"{device} is a partition", f"name the whole disk: /dev/{found['pkname'] or '…'}")
    if found["ro"]:
        raise BadInput(f"{device} is read-only")
    target = Target(device, int(found["size"]), found["model"] or "", tuple(map(_describe, found.get("children", ()))))
    if target.size < image.min_disk * GB:
        raise BadInput(f"{target} is too small", f"the image needs {image.min_disk} GB")
    os.close(_claim(device))
    return target


COLUMNS = "NAME,TYPE,SIZE,RO,MODEL,PKNAME,FSTYPE,LABEL"


def _describe(partition: dict[str, Any]) -> str:
    words = (partition["name"], partition["fstype"], partition["label"])
    return " ".join(word for word in words if word)


def write(target: Target, image: DiskImage, report: Callable[[str], None]) -> None:
    """Replace everything on the disk. Interrupted, the disk does not boot; written again, it does. Conflict, Failed."""
    os.close(_claim(target.device))
    # What an earlier use left, such as a RAID's or a partition table's copy at the disk's end.
    run(["wipefs", "--all", "--quiet", target.device])
    report(f"writing {image.file.name} on {target.device}")
    _convert(image.file, target.device, report)
    disk = _claim(target.device)
    try:
        os.fsync(disk)
        fcntl.ioctl(disk, BLKRRPART)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a disk that cannot have partitions, such as some loop devices
            raise Failed(f"{target.device}: {error.strerror}", "check the disk, and write it again") from error
    finally:
        os.close(disk)


def _claim(device: Path) -> int:
    """Open the disk as its only user: the kernel refuses that when it or a partition is mounted. Conflict."""
    try:
        return os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise BadInput(f"{device}: {error.strerror}", "run it as root") from error
        hint = f"unmount it, or stop what uses it: lsblk {device}"
        raise Conflict(f"{device} is in use on this machine", hint) from error


def _convert(file: Path, device: Path, report: Callable[[str], None]) -> None:
    """Write the image's bytes, with zeros too; report each tenth."""
    options = ("-p", "-n", "-f", "qcow2", "-O", "host_device", "-t", "none")
    command = ["qemu-img", "convert", *options, str(file), str(device)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        shown = 0
        for line in running.stdout:  # such as `    (40.02/100%)`, each with a carriage return
            found = re.search(r"\((\d+)\.\d+/100%\)", line)
            if found and (tenths := int(found[1]) // 10) > shown:
                report(f"writing {file.name} on {device}: {tenths}0 %")
                shown = tenths
        problem = running.stderr.read()
    if running.returncode != 0:
        raise Failed(f"qemu-img failed: {problem.strip()[-500:]}", "check the disk, and write it again")
