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
        """A call begins now."""
        return Waiter(self, self.clock() + self.total)


@dataclass(frozen=True)
class Waiter:
    """The rest of one call's time, which `ends` by the clock."""

    timeouts: Timeouts
    ends: float

    def until(self, ask: Callable[[], T], done: Callable[[T], bool], what: str) -> T:
        """The first answer that is `done`; TimedOut names what was waited for."""
        pause = self.timeouts.first
        while not done(answer := ask()):
            if self.timeouts.clock() + pause > self.ends:
                raise TimedOut(
                    f"{what} after {self.timeouts.total:g} seconds", "the operation continues and is checked again"
                )
            self.timeouts.sleep(pause)
            pause = min(pause * self.timeouts.growth, self.timeouts.longest)
        return answer
