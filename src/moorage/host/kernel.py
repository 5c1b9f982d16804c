"""System calls without a function in Python 3.11: namespaces and mounts (unshare(2), setns(2), mount(2))."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWPID = 0x20000000
NEWNET = 0x40000000

RDONLY = 1
NOSUID = 2
NODEV = 4
NOEXEC = 8
REMOUNT = 32
NOATIME = 1024
NODIRATIME = 2048
BIND = 4096
REC = 16384
PRIVATE = 1 << 18
SHARED = 1 << 20
RELATIME = 1 << 21
DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check_result(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (a new PID namespace is for its next child)."""
    _check_result(_libc.unshare(flags), "unshare")


def setns(path: Path | str, flag: int) -> None:
    """Join the namespace of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check_result(_libc.setns(descriptor, flag), f"joining {path}")
    finally:
        os.close(descriptor)


def mount(source: str, target: Path | str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); the target must exist."""
    arguments = [value.encode() if value else None for value in (source, str(target), kind)]
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None)
    _check_result(result, f"mounting {kind or source} on {target}")


def bind(source: Path | str, target: Path | str, *, read_only: bool = False) -> None:
    """Bind mount `source` on `target`."""
    mount(str(source), target, flags=BIND)
    if read_only:
        mount("", target, flags=BIND | REMOUNT | RDONLY)


def detach(target: Path | str) -> None:
    """umount2(2) with MNT_DETACH: as soon as it is unused."""
    _check_result(_libc.umount2(str(target).encode(), DETACH), f"unmounting {target}")


def unmount(target: Path | str) -> None:
    """umount2(2), at once and with everything written; OSError EBUSY when it is in use, EINVAL without a mount."""
    _check_result(_libc.umount2(str(target).encode(), 0), f"unmounting {target}")


def pivot_root(new: Path, old: Path) -> None:
    """Make `new` the root and put the old root at `old`, a folder below it."""
    syscall = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    _check_result(_libc.syscall(syscall, str(new).encode(), str(old).encode()), f"pivot_root to {new}")
