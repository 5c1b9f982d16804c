"""Wait for Cinder and Nova, which answer before they are done: so long, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from moorage.model.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Seconds: `total` is for all that one call waits; pauses between looks grow by `growth` from `first` to `longest`.

    The sidecars' own time limit must be longer than `total`, so that they hear how far it is.
    """

    total: float = 50.0
    first: float = 0.2
    longest: float = 2.0
    growth: float = 1.3
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def begin(self) -> Waiting:
        """A call begins now."""
        return Waiting(self, self.clock() + self.total)


@dataclass(frozen=True)
class Waiting:
    """What is left of one call's time, which `ends` by the clock."""

    patience: Patience
    ends: float

    def until(self, ask: Callable[[], T], done: Callable[[T], bool], what: str) -> T:
        """The first answer that will do; TimedOut says what was waited for."""
        pause = self.patience.first
        while not done(answer := ask()):
            if self.patience.clock() + pause > self.ends:
                raise TimedOut(f"{what} after {self.patience.total:g} seconds", "it goes on, and is looked at again")
            self.patience.sleep(pause)
            pause = min(pause * self.patience.growth, self.patience.longest)
        return answer
