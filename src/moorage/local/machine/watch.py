"""Notice when a machine stops unexpectedly, and notify Nova within seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from moorage.local.machine import life
from moorage.local.machine.spec import Machine

WAIT_TIMEOUT = 3600.0


class Watch:
    """Calls `on_end(machine id)` when a watched machine has ended."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._generations: dict[str, int] = {}
        self._lock = threading.Lock()

    def start_watching(self, machine: Machine) -> None:
        """Report the machine's end from now on."""
        with self._lock:
            number = self._generations[machine.id] = self._generations.get(machine.id, 0) + 1
        threading.Thread(
            target=self._wait_for_end, args=(machine, number), daemon=True, name=f"watch {machine.id}"
        ).start()

    def stop_watching(self, machine_id: str) -> None:
        """Do not report the machine's end: Nova requested it."""
        with self._lock:
            self._generations[machine_id] = self._generations.get(machine_id, 0) + 1

    def _wait_for_end(self, machine: Machine, number: int) -> None:
        while self._is_current(machine.id, number):
            if not life.wait_for_end(machine, WAIT_TIMEOUT):
                continue
            if life.has_restarted(machine, life.REBOOT_TIMEOUT):
                continue
            if self._is_current(machine.id, number):
                self._on_end(machine.id)
            return

    def _is_current(self, machine_id: str, number: int) -> bool:
        with self._lock:
            return self._generations.get(machine_id) == number
