"""Write a disk image on a disk of this machine, for a server without a cloud that would do it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.image.disk.build import DiskImage
from moorage.image.run import run
from moorage.model.errors import BadInput, Conflict, Failed

BLKRRPART = 0x125F  # linux/fs.h: read the partition table again
COLUMNS = "PATH,MAJ:MIN,TYPE,SIZE,RO,MODEL,SERIAL,PKNAME,FSTYPE,LABEL"
GB = 2**30
BUSY = 10.0
"""Seconds for which other programs may look at new partitions."""


@dataclass(frozen=True)
class Target:
    """A disk. `size` in bytes; `contents` are what would be lost, as people recognize it.

    `number` is the kernel's number of the device, `serial` the disk's own.
    """

    device: Path
    number: str
    size: int
    model: str
    serial: str
    partitions: tuple[Path, ...]
    contents: tuple[str, ...]

    def __str__(self) -> str:
        lost = f", with {', '.join(self.contents)}" if self.contents else ""
        return f"{self.device}: {self.size / GB:.0f} GB{f', {self.model}' if self.model else ''}{lost}"


def inspect(device: Path, image: DiskImage) -> Target:
    """The disk, if the image may be written on it. BadInput for another file, or a small disk; Conflict in use."""
    target = _read(device)
    if target.size < image.min_disk * GB:
        raise BadInput(f"{target} is too small", f"the image needs {image.min_disk} GB")
    with _claim(device):
        return target


def _read(device: Path) -> Target:
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
    below = list(_below(found))
    return Target(
        device,
        found["maj:min"],
        int(found["size"]),
        found["model"] or "",
        found["serial"] or "",
        tuple(Path(child["path"]) for child in below if child["type"] == "part"),
        tuple(_describe(entry) for entry in (found, *below) if entry["fstype"] or entry is not found),
    )


def _below(device: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Partitions, and what lies on them: volumes, RAIDs, encrypted devices."""
    for child in device.get("children", ()):
        yield child
        yield from _below(child)


def _describe(device: Mapping[str, Any]) -> str:
    words = (device["path"], device["fstype"], device["label"])
    return " ".join(word for word in words if word)


def write(target: Target, image: DiskImage, report: Callable[[str], None]) -> None:
    """Replace everything on the disk. Interrupted, the disk does not boot; written again, it does.

    Conflict when it is in use, or another disk has its name now; Failed when it cannot be written.
    """
    with _claim(target.device) as disk:
        if _read(target.device) != target:
            raise Conflict(f"{target.device} has changed since it was examined", f"lsblk {target.device}")
        # What an earlier use left: file systems, and the copies of RAID and partition tables at the end.
        for device in (*target.partitions, target.device):
            run(["wipefs", "--all", "--force", "--quiet", device])
        report(f"writing {image.file.name} on {target.device}")
        _convert(image.file, target.device, report)
        os.fsync(disk)
        if not _read_partitions(disk):
            report(f"the kernel keeps the former partitions of {target.device}: reconnect the disk, or reboot")


def _read_partitions(disk: int) -> bool:
    """Let the kernel read the table; False when something uses a partition, or the disk cannot have any."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            fcntl.ioctl(disk, BLKRRPART)
        except OSError as error:
            if error.errno != errno.EBUSY:
                return error.errno == errno.EINVAL  # a loop device without partitions
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        else:
            return True


@contextmanager
def _claim(device: Path) -> Iterator[int]:
    """Hold the disk as its only user: the kernel refuses that when it or a partition is mounted. Conflict.

    The lock keeps udev away meanwhile (https://systemd.io/BLOCK_DEVICE_LOCKING/).
    """
    try:
        disk = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise BadInput(f"{device}: {error.strerror}", "run it as root") from error
        hint = f"unmount it, or stop what uses it: lsblk {device}"
        raise Conflict(f"{device} is in use on this machine", hint) from error
    try:
        fcntl.flock(disk, fcntl.LOCK_EX)
        yield disk
    except OSError as error:
        raise Failed(f"{device}: {error.strerror}", "check the disk, and write it again") from error
    finally:
        os.close(disk)


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
