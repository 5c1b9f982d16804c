"""Waiting in tests for events that take time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SLOWEST = 3
"""How many times as long as a test names it may take: a machine may be much slower than where the test was written, and
a longer limit costs nothing where the answer is good."""


def until(
    ask: Callable[[], Any],
    good: Callable[[Any], Any] = bool,
    *,
    seconds: float = 60,
    pause: float = 0.5,
    yet: tuple[type[Exception], ...] = (),
    why: Callable[[], Any] | None = None,
) -> Any:
    """Ask until the answer is good, and return it.

    After so many seconds, times SLOWEST, an AssertionError says why, or what came last. An error of the kinds `yet` is
    an answer that is not good. It asks less and less often, but at least once in `pause` seconds.
    """
    ends, nap = time.monotonic() + SLOWEST * seconds, min(0.02, pause)
    while True:
        error = None
        try:
            if good(answer := ask()):
                return answer
        except yet as raised:
            answer = error = raised
        if time.monotonic() > ends:
            raise AssertionError(f"not within {SLOWEST * seconds:.0f} s: {why() if why else repr(answer)}") from error
        time.sleep(nap)
        nap = min(1.5 * nap, pause)
