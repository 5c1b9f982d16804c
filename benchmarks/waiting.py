"""Waiting and measuring."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 600.0


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Seconds until it is true."""
    begun = time.monotonic()
    while not what():
        if time.monotonic() > begun + seconds:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.01)
    return time.monotonic() - begun


def resident() -> float:
    """This process's own memory in MiB: private pages and its share of shared ones."""
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024
