"""Wait for Cinder and Nova, which answer before a change is complete, within a call's time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from moorage.model.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Timeouts:
    """Seconds: `total` is the limit of one call; the interval between polls grows by `growth` from `first` to
    `longest`.

    The sidecars' own time limit must be longer than `total`, so that they get our error.
    """

    total: float = 50.0
    first: float = 0.2
    longest: float = 2.0
    growth: float = 1.3
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def begin(self) -> Waiter:
        """Start the time limit of one call."""
        return Waiter(self, self.clock() + self.total)


@dataclass(frozen=True)
class Waiter:
    """Waits within one call's time, until `deadline` on the clock."""

    timeouts: Timeouts
    deadline: float

    def until(self, read: Callable[[], T], is_done: Callable[[T], bool], what: str) -> T:
        """The first result of `read` that `is_done` accepts; TimedOut names what was waited for."""
        pause = self.timeouts.first
        while not is_done(result := read()):
            if self.timeouts.clock() + pause > self.deadline:
                raise TimedOut(
                    f"{what} after {self.timeouts.total:g} seconds", "the operation continues and is checked again"
                )
            self.timeouts.sleep(pause)
            pause = min(pause * self.timeouts.growth, self.timeouts.longest)
        return result
