"""A volume's device on this node, now or as soon as udev has created its name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moorage.csi.cinder.device import BY_ID, find_device
from moorage.model.errors import TimedOut

TIMEOUT = 10.0
"""Seconds to wait for the device of a volume that was just attached; the caller repeats the call after that."""
POLL_INTERVAL = 0.05
MAX_HANDLE = 128  # characters of a handle: CSI's limit for a string


@dataclass(frozen=True)
class Devices:
    """Devices by their names below `folder`; `timeout`, `clock` and `sleep` are in seconds."""

    folder: Path = BY_ID
    timeout: float = TIMEOUT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def find(self, volume: str) -> Path | None:
        """The device, None when it does not exist."""
        try:
            return find_device(volume, self.folder) if len(volume) <= MAX_HANDLE else None
        except TimedOut:
            return None

    def wait_for(self, volume: str) -> Path:
        """The device; TimedOut when it does not appear."""
        end = self.clock() + self.timeout
        while (device := self.find(volume)) is None:
            if self.clock() >= end:
                return find_device(volume, self.folder)
            self.sleep(POLL_INTERVAL)
        return device
