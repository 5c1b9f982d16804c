"""Find out what is on a block device, by two programs: a device that is not blank must never count as blank.

libblkid's low-level probe recognizes file systems and partition tables, wipefs every signature at any place. Both
report an unreadable device as blank, so the device is read first. The first bytes must be zero, too: a file system with
an overwritten superblock has no signature, and is not blank.
"""

from __future__ import annotations

import os
from pathlib import Path

from moorage.host.run import attempt
from moorage.model.errors import Failed

HEAD = 2048  # bytes: a boot sector and ext4's superblock, which mke2fs writes last
XFS_MAGIC = b"XFSB"
XFS_UNFINISHED = 126  # offset of the byte that is not 0 until mkfs has finished: sb_inprogress in xfs_format.h
BLKID_FOUND_NOTHING = 2
UNKNOWN = "data"


def signature(device: Path) -> str:
    """The name of what is on a device, "" for nothing; OSError or Failed when it cannot be read."""
    head = _read_head(device)
    if is_unfinished_xfs(head):
        return ""
    return _run_blkid(device) or _run_wipefs(device) or (UNKNOWN if any(head) else "")


def is_unfinished_xfs(head: bytes) -> bool:
    """Whether these first bytes are those of an XFS that mkfs did not finish."""
    return head.startswith(XFS_MAGIC) and head[XFS_UNFINISHED] != 0


def blank_unfinished_xfs(device: Path) -> None:
    """Blank the superblock of an XFS that mkfs did not finish, because mkfs rejects it; otherwise does nothing."""
    descriptor = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        if is_unfinished_xfs(os.pread(descriptor, HEAD, 0)):
            os.pwrite(descriptor, bytes(HEAD), 0)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_head(device: Path) -> bytes:
    with device.open("rb", buffering=0) as file:
        return file.read(HEAD)


def _run_blkid(device: Path) -> str:
    code, output = attempt("blkid", "--probe", "--output", "export", str(device))
    if code == BLKID_FOUND_NOTHING:
        return ""
    if code != 0:
        raise Failed(
            f"blkid cannot identify what is on {device}: {output}", "it may have several signatures: see `wipefs` there"
        )
    fields = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    return fields.get("TYPE") or fields.get("PTTYPE") or ""


def _run_wipefs(device: Path) -> str:
    code, output = attempt("wipefs", "--no-act", "--noheadings", "--output", "TYPE", str(device))
    if code != 0:
        raise Failed(f"wipefs cannot read {device}: {output}")
    return " ".join(output.split())
