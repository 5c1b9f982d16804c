"""Wait for a condition."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_not_result, stop_after_delay, wait_fixed

PAUSE = 0.05  # seconds


def until(condition: Callable[[], object], seconds: float, reason: str, pause: float = PAUSE) -> None:
    """Return when the condition is true; TimeoutError with the reason when it is not within `seconds`."""
    retrying = Retrying(retry=retry_if_not_result(bool), stop=stop_after_delay(seconds), wait=wait_fixed(pause))
    try:
        retrying(condition)
    except RetryError as error:
        raise TimeoutError(reason) from error
