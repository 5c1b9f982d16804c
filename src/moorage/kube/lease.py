"""Leader election with a Lease of coordination.k8s.io.

It follows client-go: a lease has expired when *we* have not seen it change for its duration, so that the clocks of
different machines need not agree. A holder that cannot renew gives up before another one may take over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from moorage.kube.port import LEASES, KubernetesClient, Object
from moorage.model.errors import Conflict, MoorageError, NotFound


@dataclass(frozen=True)
class LeaseTimings:
    """Seconds: how long a lease is valid without renewal, when a holder gives up, and how often `step` runs."""

    duration: int = 15
    give_up: float = 10.0
    every: float = 2.0


@dataclass(frozen=True)
class ObservedLease:
    """A lease's spec, and when (monotonic seconds) we first saw it like this."""

    spec: dict[str, Any]
    at: float


def decide(observed: ObservedLease | None, me: str, now: float) -> Literal["create", "renew", "acquire", "wait"]:
    """What to do with the lease as we saw it; None means that it does not exist."""
    if observed is None:
        return "create"
    holder = observed.spec.get("holderIdentity")
    if holder == me:
        return "renew"
    if not holder:
        return "acquire"
    return "acquire" if now >= observed.at + observed.spec.get("leaseDurationSeconds", 0) else "wait"


@dataclass
class Elector:
    """Tries to hold the lease `key` (namespace/name) as `me`; call `step` every `timings.every` seconds."""

    api: KubernetesClient
    key: str
    me: str
    clock: Callable[[], float]
    timings: LeaseTimings = LeaseTimings()
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    _observed: ObservedLease | None = None
    _renewed: float | None = None

    def step(self) -> bool:
        """Read the lease, and acquire or renew it if allowed; returns whether we hold it. Never raises MoorageError."""
        try:
            self._try()
        except (Conflict, NotFound):
            self._renewed = None  # another candidate was faster
        except MoorageError:
            return self.is_leader  # the API is unreachable: the lease is ours until we give it up
        return self.is_leader

    @property
    def is_leader(self) -> bool:
        """Whether the lease is ours and was renewed recently enough to rely on."""
        return self._renewed is not None and self.clock() < self._renewed + self.timings.give_up

    def release(self) -> None:
        """Release the lease, so that another candidate need not wait. Does nothing when it is not ours.

        KubernetesUnreachable when the API is unreachable: the lease then expires.
        """
        if self._renewed is None:
            return
        self._renewed = None
        lease = self.api.get(LEASES, self.key)
        if lease is not None and lease["spec"].get("holderIdentity") == self.me:
            self.api.replace(LEASES, self._with(lease, {"holderIdentity": "", "leaseDurationSeconds": 1}))

    def _try(self) -> None:
        requested_at = self.clock()
        lease = self.api.get(LEASES, self.key)
        self._observe(lease)
        action = decide(self._observed, self.me, requested_at)
        if action == "wait":
            self._renewed = None
            return
        self._observe(self._write(action, lease))
        self._renewed = requested_at  # not the time of the response: others count from when they could see it

    def _observe(self, lease: Object | None) -> None:
        if lease is None:
            self._observed = None
        elif self._observed is None or self._observed.spec != lease["spec"]:
            self._observed = ObservedLease(lease["spec"], self.clock())

    def _write(self, action: str, lease: Object | None) -> Object:
        now = self.wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        fields: dict[str, Any] = {"holderIdentity": self.me, "leaseDurationSeconds": self.timings.duration}
        fields["renewTime"] = now
        if lease is None:
            namespace, _, name = self.key.partition("/")
            metadata = {"namespace": namespace, "name": name}
            spec = {**fields, "acquireTime": now, "leaseTransitions": 0}
            return self.api.create(LEASES, {"metadata": metadata, "spec": spec})
        if action == "acquire":
            fields |= {"acquireTime": now, "leaseTransitions": lease["spec"].get("leaseTransitions", 0) + 1}
        return self.api.replace(LEASES, self._with(lease, fields))

    @staticmethod
    def _with(lease: Object, fields: dict[str, Any]) -> Object:
        return {**lease, "spec": {**lease["spec"], **fields}}
