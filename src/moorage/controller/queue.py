"""A work queue: each key is in it at most once, has at most one worker, and has its own backoff."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition


@dataclass(frozen=True)
class Backoff:
    """Seconds: the first delay after a failure, doubled for each further one up to the longest; half is jitter."""

    first: float = 0.2
    longest: float = 60.0

    def pause(self, failures: int, jitter: float) -> float:
        """`jitter` is from 0 to 1."""
        delay: float = min(self.longest, self.first * 2 ** min(failures - 1, 30))
        return delay * (0.5 + 0.5 * jitter)


class WorkQueue:
    """Keys that wait for a worker; thread-safe."""

    def __init__(
        self,
        backoff: Backoff = Backoff(),
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._backoff, self._clock, self._jitter = backoff, clock, jitter
        self._due: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}
        self._stopped = False
        self._changed = Condition()

    def add(self, key: str, after: float = 0.0) -> None:
        """Add a key that is due in `after` seconds, or earlier if it was added so before."""
        with self._changed:
            due = self._clock() + after
            if due < self._due.get(key, float("inf")):
                self._due[key] = due
                self._push(key)

    def take(self, seconds: float | None = None) -> str | None:
        """The next key that is due, None after `seconds` or when stopped. Call `done` or `failed` with it."""
        with self._changed:
            deadline = None if seconds is None else self._clock() + seconds
            while not self._stopped:
                wait = self._until_due()
                if wait is not None and wait <= 0:
                    return self._pop()
                remaining = None if deadline is None else deadline - self._clock()
                if remaining is not None and remaining <= 0:
                    return None
                self._changed.wait(min((w for w in (wait, remaining) if w is not None), default=None))
            return None

    def done(self, key: str, again: float | None = None) -> None:
        """The work succeeded; the key is due again after `again` seconds, or when it is added."""
        self._finish(key, again)

    def failed(self, key: str) -> float:
        """The work failed; the key is due again after a delay, which is returned in seconds."""
        with self._changed:
            failures = self._failures.get(key, 0) + 1
        pause = self._backoff.pause(failures, self._jitter())
        self._finish(key, pause, failures)
        return pause

    def stop(self) -> None:
        """Wake all workers; no more keys are returned."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def depth(self) -> int:
        """The number of keys that are due and have no worker."""
        with self._changed:
            now = self._clock()
            return sum(due <= now and key not in self._busy for key, due in self._due.items())

    def _finish(self, key: str, again: float | None, failures: int = 0) -> None:
        with self._changed:
            self._busy.discard(key)
            if failures:
                self._failures[key] = failures
            else:
                self._failures.pop(key, None)
            if again is not None:
                self._due[key] = min(self._due.get(key, float("inf")), self._clock() + again)
            if key in self._due:
                self._push(key)

    def _push(self, key: str) -> None:
        if key not in self._busy:
            heapq.heappush(self._order, (self._due[key], key))
            self._changed.notify()

    def _until_due(self) -> float | None:
        """Seconds until the next key is due, None without keys; drops outdated entries."""
        while self._order:
            due, key = self._order[0]
            if self._due.get(key) == due and key not in self._busy:
                return due - self._clock()
            heapq.heappop(self._order)
        return None

    def _pop(self) -> str:
        _, key = heapq.heappop(self._order)
        del self._due[key]
        self._busy.add(key)
        return key
