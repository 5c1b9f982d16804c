"""Kubernetes Events: what a person must know about an object, in plain words.

The same words about the same object are one Event with a count, written at most once a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Literal
from uuid import uuid4

from moorage.kube.objects import EVENTS, Object, Objects
from moorage.model.errors import MoorageError, NotFound

REMEMBERED = 1000  # Events known to us; the oldest is forgotten first and would be created again
PAUSE = 60.0  # seconds between two writings of one Event
LONGEST = 1024  # characters in a message, by the API's own check

log = logging.getLogger(__name__)


@dataclass
class _Said:
    key: str
    count: int
    written: float


@dataclass
class Recorder:
    """Writes Events in the name of `component`; used by many threads. An Event that cannot be written is logged."""

    api: Objects
    component: str
    clock: Callable[[], float]
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    _said: dict[tuple[str, str, str], _Said] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def say(self, about: Object, reason: str, message: str, type: Literal["Normal", "Warning"] = "Warning") -> None:
        """Say it about an object. `reason` is one word in CamelCase, `message` a sentence that tells what to do."""
        message = message[:LONGEST]
        what = (about["metadata"].get("uid", ""), reason, message)
        with self._lock:
            try:
                self._say(what, about, reason, message, type)
            except MoorageError as error:
                log.warning("event not written: %s: %s (%s)", reason, message, error)

    def _say(self, what: tuple[str, str, str], about: Object, reason: str, message: str, type: str) -> None:
        said = self._said.get(what)
        if said is not None:
            said.count += 1
            if self.clock() < said.written + PAUSE or self._again(said):
                return
        made = self.api.create(EVENTS, self._event(about, reason, message, type))
        self._said[what] = _Said(_key(made), 1, self.clock())
        if len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]

    def _again(self, said: _Said) -> bool:
        """Write the new count; False when the Event is there no more (the API keeps them for an hour)."""
        try:
            self.api.patch(EVENTS, said.key, {"count": said.count, "lastTimestamp": self._now()})
        except NotFound:
            return False
        said.written = self.clock()
        return True

    def _event(self, about: Object, reason: str, message: str, type: str) -> Object:
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        names = {"kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"]}
        names |= {key: metadata[key] for key in ("uid", "namespace") if key in metadata}
        return {
            "metadata": {"namespace": namespace, "name": f"{metadata['name']}.{uuid4().hex[:16]}"},
            "involvedObject": names,
            "reason": reason,
            "message": message,
            "type": type,
            "count": 1,
            "firstTimestamp": self._now(),
            "lastTimestamp": self._now(),
            "source": {"component": self.component},
            "reportingComponent": self.component,
        }

    def _now(self) -> str:
        return self.wall().strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(made: Object) -> str:
    return f"{made['metadata']['namespace']}/{made['metadata']['name']}"
