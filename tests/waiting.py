"""Waiting, in tests, for what happens by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


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

    After so many seconds an AssertionError says why, or what came last. An error of the kinds `yet` is an answer that
    is not good. The default is for what must come some time; a promise names its seconds. It asks less and less often,
    but at least once in `pause` seconds.
    """
    ends, nap = time.monotonic() + seconds, min(0.02, pause)
    while True:
        error = None
        try:
            if good(answer := ask()):
                return answer
        except yet as raised:
            answer = error = raised
        if time.monotonic() > ends:
            raise AssertionError(f"not within {seconds:.0f} s: {why() if why else repr(answer)}") from error
        time.sleep(nap)
        nap = min(1.5 * nap, pause)
