"""A volume's device on this node, now or as soon as udev has created its name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moorage.csi.cinder.device import BY_ID, find
from moorage.model.errors import TimedOut

PATIENCE = 10.0
"""Seconds to wait for the device of a volume that was just attached; the caller repeats the call after that."""
PAUSE = 0.05
LONGEST = 128  # characters of a handle: CSI's limit for a string


@dataclass(frozen=True)
class Devices:
    """The names below `folder`; `clock` and `sleep` count seconds."""

    folder: Path = BY_ID
    timeouts: float = PATIENCE
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def now(self, volume: str) -> Path | None:
        """The device, None when it does not exist."""
        try:
            return find(volume, self.folder) if len(volume) <= LONGEST else None
        except TimedOut:
            return None

    def awaited(self, volume: str) -> Path:
        """The device; TimedOut when it does not appear."""
        end = self.clock() + self.timeouts
        while (device := self.now(volume)) is None:
            if self.clock() >= end:
                return find(volume, self.folder)
            self.sleep(PAUSE)
        return device
