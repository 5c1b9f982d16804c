"""What every run of a loop has: a clock, a log of its events, a time limit, and patience with an unreachable cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from moorage.cloud.port.stacks import Stack, StackResource
from moorage.model.cluster import ClusterEvent, Progress
from moorage.model.errors import CloudUnreachable, TimedOut

T = TypeVar("T")
Report = Callable[[str], None]
REQUESTED = "Requested"  # the reason of the event for what a user requested
OUTAGE_LIMIT = 120.0  # seconds for which the cloud may be unreachable during a run
UNCHANGED_LIMIT, UNCHANGED_LIMIT_AFTER_OUTAGE = 300.0, 20.0
"""Seconds without a change after which a stack is updated: in general, and when Heat did not answer meanwhile.

An engine that died leaves its stacks in progress; a new request makes another engine resume them."""


@dataclass(frozen=True)
class PollInterval:
    """Seconds between two observations, and after a request; tests replace the clock."""

    interval: float = 1.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = lambda seconds: time.sleep(seconds)
    after_request: float = 0.2


EVERY_SECOND = PollInterval()


@dataclass
class ProgressLog:
    """Reports each step once, and keeps when it began."""

    report: Report
    poll: PollInterval
    steps: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.poll.now()

    @property
    def seconds(self) -> float:
        return self.poll.now() - self.began

    def record(self, text: str) -> None:
        if not self.steps or self.steps[-1].text != text:
            self.steps.append(Progress(round(self.seconds, 1), text))
            self.report(text)


@dataclass(frozen=True)
class Unchanged:
    """The seconds since a stack last changed, and whether Heat failed to answer in that time."""

    seconds: float = 0.0
    unresponsive: bool = False

    @property
    def stuck(self) -> bool:
        return self.seconds >= (UNCHANGED_LIMIT_AFTER_OUTAGE if self.unresponsive else UNCHANGED_LIMIT)


@dataclass
class ProgressTracker:
    """Measures for how long each stack has not changed."""

    _since: dict[str, tuple[object, float]] = field(default_factory=dict)
    _unresponsive: set[str] = field(default_factory=set)

    def update(self, stack: Stack, resources: Sequence[StackResource], now: float) -> Unchanged:
        """For how long it has not changed. A stuck one is stuck until it changes, or `restart`."""
        state = (stack.status, {(resource.path, resource.status) for resource in resources})
        last_state, since = self._since.get(stack.id, (None, now))
        self._since[stack.id] = (state, since if state == last_state else now)
        return Unchanged(now - self._since[stack.id][1], stack.id in self._unresponsive)

    def restart(self, id: str, now: float) -> None:
        """Measure from zero: a request for the stack was sent, which makes a living engine work on it."""
        if id in self._since:
            self._since[id] = (self._since[id][0], now)
            self._unresponsive.discard(id)

    def mark_unresponsive(self) -> None:
        """Heat did not answer: its engine may have died, with all stacks."""
        self._unresponsive |= self._since.keys()


@dataclass
class Run:
    """One run of a loop. `unfinished` and `hint` are for users when its time is over.

    `request` is the event for what a user requested; it is kept with the first action. Without it the run continues
    what was requested before.
    """

    log: ProgressLog
    timeout: float
    unfinished: str
    hint: str
    request: ClusterEvent | None = None
    failure: str = ""
    """Why the last attempt failed."""
    progress: ProgressTracker = field(default_factory=ProgressTracker)
    seen: float | None = None
    events: list[ClusterEvent] = field(default_factory=list)
    """The actions of this run; `sent` of them are kept by Heat."""
    sent: int = 0

    def act(self, reason: str, object: str, text: str = "", *, warning: bool = False) -> None:
        """Report an action, and make it an event; without a text, it is only the request that is one."""
        if self.request and not self.events:
            self.events.append(self.request)
        if text:
            self.log.record(text)
            self.events.append(ClusterEvent("", reason, object, text, warning))

    def ask(self, question: Callable[[], T]) -> T | None:
        """The cloud's answer. None while it is unreachable for a moment, after it answered at least once."""
        try:
            answer = question()
        except CloudUnreachable as error:
            if self.seen is None or self.log.poll.now() - self.seen > OUTAGE_LIMIT:
                raise
            self.log.record(f"waiting for the cloud: {error.message}")
            if error.service == "Heat":
                self.progress.mark_unresponsive()
            return None
        self.seen = self.log.poll.now()
        return answer

    def wait(self, seconds: float = 0.0) -> None:
        """Wait until the next observation; TimedOut when the run's time is over."""
        if self.log.seconds > self.timeout:
            last = self.log.steps[-1].text if self.log.steps else "nothing was observed"
            before = f"; the attempt before failed: {self.failure}" if self.failure else ""
            raise TimedOut(f"{self.unfinished} after {self.timeout:.0f} s: {last}{before}", self.hint)
        self.log.poll.sleep(seconds or self.log.poll.interval)
