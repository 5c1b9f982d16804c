"""Run programs that work on disks, and translate their errors and the kernel's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moorage.host.filesystems import Damaged, InUse
from moorage.host.run import attempt
from moorage.model.errors import Failed, NotFound

FSCK_UNCORRECTED = 4  # bits of fsck's exit code: errors were left uncorrected
FSCK_NOT_RUN = 8


def fsck(device: Path, *options: str) -> None:
    """Repair an ext4 as far as that loses nothing; Damaged, InUse."""
    code, output = attempt("fsck.ext4", "-p", *options, str(device))
    if code & FSCK_NOT_RUN and ("in use" in output or "is mounted" in output):
        raise InUse(f"{device} is in use: {output}")
    if code & (FSCK_UNCORRECTED | FSCK_NOT_RUN):
        raise Damaged(f"the ext4 on {device} is damaged: {output[-500:]}", f"repair it with `fsck.ext4 {device}`")
    if code > FSCK_NOT_RUN:
        raise Failed(f"fsck.ext4 {device}: {output[-500:]}")


def run_checked(what: str, *command: str) -> None:
    """Run a program that must succeed; Damaged, InUse, Failed."""
    check_result(what, *attempt(*command))


def check_result(what: str, code: int, output: str) -> None:
    """Translate the exit code and output of a program; Damaged, InUse, Failed."""
    if code == 0:
        return
    message = f"{what}: {output[-500:]}"
    if "Structure needs cleaning" in output:
        raise Damaged(message, "repair it with `xfs_repair` on the node")
    if "already mounted" in output or "busy" in output or "in use" in output:
        raise InUse(message)
    raise Failed(message)


@contextmanager
def translating_errors(what: str) -> Iterator[None]:
    """Translate the kernel's errors to NotFound, InUse and Failed."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{what}: {error.filename or ''} does not exist") from error
    except OSError as error:
        kind = InUse if error.errno == errno.EBUSY else Failed
        raise kind(f"{what}: {error.strerror}") from error
