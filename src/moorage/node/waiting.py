"""Waiting with an end, and with the reason for which one still waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from moorage.model.errors import TimedOut

Result = TypeVar("Result")

INTERVAL = 0.05
SLOWEST = 1.0


class NotYet(Exception):
    """What was looked for is not there yet; its text says what is missing, in plain words."""


@dataclass(frozen=True)
class Clock:
    """Time, as a test may replace it."""

    now: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], None] = field(default=time.sleep)


@dataclass(frozen=True)
class Deadline:
    """When all waiting ends, on a clock."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, seconds: float, clock: Clock) -> Deadline:
        return cls(clock, clock.now() + seconds)

    @property
    def passed(self) -> bool:
        return self.clock.now() >= self.at

    def until(self, attempt: Callable[[], Result], interval: float = INTERVAL) -> Result:
        """Try until it works; raises TimedOut with the last reason. Only NotYet is waited for.

        The pause between tries grows slowly, so that a long wait costs little.
        """
        while True:
            try:
                return attempt()
            except NotYet as error:
                if self.passed:
                    raise TimedOut(str(error)) from error
            self.clock.sleep(interval)
            interval = min(interval * 1.02, SLOWEST)
