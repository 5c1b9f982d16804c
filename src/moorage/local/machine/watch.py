"""Notice when a machine stops unexpectedly, and notify Nova within seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from moorage.local.machine import life
from moorage.local.machine.spec import Machine

LOOK_AGAIN = 3600.0


class Watch:
    """Calls `ended(machine id)` when a machine that should run does not."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended
        self._expected: dict[str, int] = {}
        self._lock = threading.Lock()

    def expect(self, machine: Machine) -> None:
        """From now on the machine should run."""
        with self._lock:
            number = self._expected[machine.id] = self._expected.get(machine.id, 0) + 1
        threading.Thread(target=self._follow, args=(machine, number), daemon=True, name=f"watch {machine.id}").start()

    def forget(self, machine_id: str) -> None:
        """The machine may end: Nova stops it."""
        with self._lock:
            self._expected[machine_id] = self._expected.get(machine_id, 0) + 1

    def _follow(self, machine: Machine, number: int) -> None:
        while self._is_current(machine.id, number):
            if not life.wait_for_end(machine, LOOK_AGAIN):
                continue
            if life.came_back(machine, life.REBOOT):
                continue
            if self._is_current(machine.id, number):
                self._ended(machine.id)
            return

    def _is_current(self, machine_id: str, number: int) -> bool:
        with self._lock:
            return self._expected.get(machine_id) == number
