"""Waiting with a deadline, and with the reason for what is missing."""

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
    """Something is not there yet; the message says what."""


@dataclass(frozen=True)
class Clock:
    """Time, replaceable in tests."""

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
        """Retry while NotYet is raised; TimedOut has the last reason.

        The interval between attempts grows slowly, so that a long wait costs little.
        """
        while True:
            try:
                return attempt()
            except NotYet as error:
                if self.passed:
                    raise TimedOut(str(error)) from error
            self.clock.sleep(interval)
            interval = min(interval * 1.02, SLOWEST)
