"""Leader election with a Lease of coordination.k8s.io.

It follows client-go: a lease has expired when *we* have not seen it change for its duration, so that the clocks of
different machines need not agree. A holder that cannot renew gives up before another one may take over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from moorage.kube.objects import LEASES, KubernetesClient, Object
from moorage.model.errors import Conflict, MoorageError, NotFound


@dataclass(frozen=True)
class LeaseTimings:
    """Seconds: how long a lease is valid without renewal, when a holder gives up, and how often `step` runs."""

    duration: int = 15
    give_up: float = 10.0
    every: float = 2.0


@dataclass(frozen=True)
class Seen:
    """A lease's spec, and when (monotonic seconds) we first saw it like this."""

    spec: dict[str, Any]
    at: float


def decide(seen: Seen | None, me: str, now: float) -> Literal["make", "renew", "take", "wait"]:
    """What to do with the lease as we saw it; None means that it does not exist."""
    if seen is None:
        return "make"
    holder = seen.spec.get("holderIdentity")
    if holder == me:
        return "renew"
    if not holder:
        return "take"
    return "take" if now >= seen.at + seen.spec.get("leaseDurationSeconds", 0) else "wait"


@dataclass
class Elector:
    """Tries to hold the lease `key` (namespace/name) as `me`; call `step` every `timings.every` seconds."""

    api: KubernetesClient
    key: str
    me: str
    clock: Callable[[], float]
    timings: LeaseTimings = LeaseTimings()
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    _seen: Seen | None = None
    _renewed: float | None = None

    def step(self) -> bool:
        """Read the lease, and take or renew it if allowed; returns whether we hold it. Never raises MoorageError."""
        try:
            self._try()
        except (Conflict, NotFound):
            self._renewed = None  # another candidate was faster
        except MoorageError:
            return self.held  # the API is unreachable: the lease is ours until we give it up
        return self.held

    @property
    def held(self) -> bool:
        """Whether the lease is ours and was renewed recently enough to rely on."""
        return self._renewed is not None and self.clock() < self._renewed + self.timings.give_up

    def release(self) -> None:
        """Release the lease, so that another candidate need not wait. Does nothing when it is not ours.

        CloudUnreachable when the API is unreachable: the lease then expires.
        """
        if self._renewed is None:
            return
        self._renewed = None
        found = self.api.get(LEASES, self.key)
        if found is not None and found["spec"].get("holderIdentity") == self.me:
            self.api.replace(LEASES, self._with(found, {"holderIdentity": "", "leaseDurationSeconds": 1}))

    def _try(self) -> None:
        asked = self.clock()
        found = self.api.get(LEASES, self.key)
        self._observe(found)
        what = decide(self._seen, self.me, asked)
        if what == "wait":
            self._renewed = None
            return
        self._observe(self._write(what, found))
        self._renewed = asked  # not the time of the response: others count from when they could see it

    def _observe(self, found: Object | None) -> None:
        if found is None:
            self._seen = None
        elif self._seen is None or self._seen.spec != found["spec"]:
            self._seen = Seen(found["spec"], self.clock())

    def _write(self, what: str, found: Object | None) -> Object:
        now = self.wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        words: dict[str, Any] = {"holderIdentity": self.me, "leaseDurationSeconds": self.timings.duration}
        words["renewTime"] = now
        if found is None:
            namespace, _, name = self.key.partition("/")
            metadata = {"namespace": namespace, "name": name}
            spec = {**words, "acquireTime": now, "leaseTransitions": 0}
            return self.api.create(LEASES, {"metadata": metadata, "spec": spec})
        if what == "take":
            words |= {"acquireTime": now, "leaseTransitions": found["spec"].get("leaseTransitions", 0) + 1}
        return self.api.replace(LEASES, self._with(found, words))

    @staticmethod
    def _with(found: Object, words: dict[str, Any]) -> Object:
        return {**found, "spec": {**found["spec"], **words}}
