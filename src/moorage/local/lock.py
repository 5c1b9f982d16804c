"""A lock between processes, released when the process ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moorage.model.errors import Conflict

PAUSE = 0.2


@contextmanager
def exclusive(path: Path, report: Callable[[str], None], reason: str, timeout: float = 1800) -> Iterator[None]:
    """Hold the lock file `path` for the block. While another process holds it, wait and report `reason`.

    Conflict when it is not released within `timeout` seconds.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, report, reason, timeout)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, report: Callable[[str], None], reason: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Conflict(f"{reason}, and has not finished after {timeout:.0f} s") from None
            report(f"waiting: {reason}")
            time.sleep(PAUSE)
