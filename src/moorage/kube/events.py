"""Kubernetes Events: what a person must know about an object.

The same message about the same object is one Event with a count, written at most once a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Literal
from uuid import uuid4

from moorage.kube.port import EVENTS, KubernetesClient, Object
from moorage.model.errors import MoorageError, NotFound

REMEMBERED = 1000  # Events kept in memory; the oldest is dropped first, and would be created again
PAUSE = 60.0  # seconds between two writes of one Event
LONGEST = 1024  # characters in a message, the API's limit

log = logging.getLogger(__name__)


@dataclass
class _Recorded:
    key: str
    count: int
    written: float


@dataclass
class Recorder:
    """Records Events for `component`; thread-safe. An Event that cannot be written is logged."""

    api: KubernetesClient
    component: str
    clock: Callable[[], float]
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    _recorded: dict[tuple[str, str, str], _Recorded] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def event(
        self, regarding: Object, reason: str, message: str, type: Literal["Normal", "Warning"] = "Warning"
    ) -> None:
        """Record an event. `reason` is one word in CamelCase, `message` a sentence that says what to do."""
        message = message[:LONGEST]
        event_id = (regarding["metadata"].get("uid", ""), reason, message)
        with self._lock:
            try:
                self._write(event_id, regarding, reason, message, type)
            except MoorageError as error:
                log.warning("event not written: %s: %s (%s)", reason, message, error)

    def _write(self, event_id: tuple[str, str, str], regarding: Object, reason: str, message: str, type: str) -> None:
        recorded = self._recorded.get(event_id)
        if recorded is not None:
            recorded.count += 1
            if self.clock() < recorded.written + PAUSE or self._update_count(recorded):
                return
        created = self.api.create(EVENTS, self._build(regarding, reason, message, type))
        self._recorded[event_id] = _Recorded(_key(created), 1, self.clock())
        if len(self._recorded) > REMEMBERED:
            del self._recorded[next(iter(self._recorded))]

    def _update_count(self, recorded: _Recorded) -> bool:
        """Write the new count; False when the Event no longer exists (the API keeps them for an hour)."""
        try:
            self.api.patch(EVENTS, recorded.key, {"count": recorded.count, "lastTimestamp": self._now()})
        except NotFound:
            return False
        recorded.written = self.clock()
        return True

    def _build(self, regarding: Object, reason: str, message: str, type: str) -> Object:
        metadata = regarding["metadata"]
        namespace = metadata.get("namespace", "default")
        names = {"kind": regarding["kind"], "apiVersion": regarding["apiVersion"], "name": metadata["name"]}
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


def _key(created: Object) -> str:
    return f"{created['metadata']['namespace']}/{created['metadata']['name']}"
