"""Wait for Cinder and Nova, which answer before they are done: so long, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from moorage.model.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Timeouts:
    """Seconds: `total` is for all that one call waits; pauses between looks grow by `growth` from `first` to `longest`.

    The sidecars' own time limit must be longer than `total`, so that they hear how far it is.
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
    """What is left of one call's time, which `ends` by the clock."""

    timeouts: Timeouts
    ends: float

    def until(self, ask: Callable[[], T], done: Callable[[T], bool], what: str) -> T:
        """The first answer that will do; TimedOut says what was waited for."""
        pause = self.timeouts.first
        while not done(answer := ask()):
            if self.timeouts.clock() + pause > self.ends:
                raise TimedOut(f"{what} after {self.timeouts.total:g} seconds", "it goes on, and is looked at again")
            self.timeouts.sleep(pause)
            pause = min(pause * self.timeouts.growth, self.timeouts.longest)
        return answer
