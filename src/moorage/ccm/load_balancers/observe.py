"""Observe a Service's resources in the cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.plan import Observed
from moorage.ccm.load_balancers.steps import NetworkStep, Step
from moorage.cloud.load_balancers import ACTIVE, LoadBalancer, LoadBalancers
from moorage.cloud.network import FloatingIP, Network
from moorage.model.ownership import SERVICE_PREFIX

FIRST_POLL, LONGEST_POLL = 0.3, 5.0  # seconds between two polls of a PENDING load balancer


@dataclass(frozen=True)
class Candidates:
    """Ids of load balancers, empty when there is none. `surplus` ones have ports of the Service and should not."""

    load_balancer: str = ""
    surplus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observer:
    """`group` is the nodes' security group. Every call may raise CloudUnreachable."""

    load_balancers: LoadBalancers
    network: Network
    group: str

    def find(self, service_ref: ServiceRef, existing: str) -> Candidates:
        """The Service's load balancer (the one that it names, else its own), and the surplus ones."""
        tagged = self.load_balancers.tagged(service_ref.tag)
        own = tagged or [found for found in self.load_balancers.named(service_ref.tag) if not _tags(found)]
        ids = [found.id for found in sorted(own, key=lambda found: (found.name != service_ref.tag, found.id))]
        if existing and (existing in ids or self.load_balancers.status(existing)):
            ids = [existing, *(id for id in ids if id != existing)]
        return Candidates(ids[0] if ids else "", tuple(ids[1:]))

    def observe(self, service_ref: ServiceRef, load_balancer: str, address: str = "") -> Observed:
        """Everything, for the load balancer with that id; `address` is the floating IP that the Service requests."""
        return self.observe_network(
            service_ref, self.load_balancers.tree(load_balancer) if load_balancer else None, address
        )

    def observe_network(self, service_ref: ServiceRef, found: LoadBalancer | None, address: str = "") -> Observed:
        """Only floating IPs and rules, for a load balancer that has not changed: reading it costs most calls."""
        floating = self.network.floating_ips()
        return Observed(
            load_balancer=found,
            mapped=_first(held for held in floating if found and held.port and held.port == found.port),
            ours=tuple(held for held in floating if held.description in service_ref.descriptions),
            asked=_first(held for held in floating if held.address == address),
            rules=tuple(self.network.rules(self.group)),
        )


@dataclass
class ObservedState:
    """The observed state of one Service during one reconcile.

    Steps in Neutron do not change the load balancer, which costs most calls to read.
    """

    observer: Observer
    service_ref: ServiceRef
    existing: str = ""
    address: str = ""
    _candidates: Candidates = Candidates()
    _seen: Observed | None = None

    def find(self) -> Candidates:
        if self._seen is None:
            self._candidates = self.observer.find(self.service_ref, self.existing)
        return self._candidates

    def observe(self) -> Observed:
        """Observe what `find` found."""
        if self._seen is None:
            self._seen = self.observer.observe(self.service_ref, self._candidates.load_balancer, self.address)
        else:
            self._seen = self.observer.observe_network(self.service_ref, self._seen.load_balancer, self.address)
        return self._seen

    def invalidate(self, steps: Iterable[Step]) -> None:
        """Forget what these steps may have changed."""
        found = self._seen.load_balancer if self._seen else None
        still = found and found.provisioning_status == ACTIVE and all(isinstance(step, NetworkStep) for step in steps)
        if not still or self._candidates.surplus:
            self._seen = None


@dataclass
class PendingOperations:
    """Load balancers that were PENDING at the last poll, by Service: one call decides whether to observe everything."""

    load_balancers: LoadBalancers
    _seen: dict[str, tuple[str, int]] = field(default_factory=dict)

    def record(self, key: str, load_balancer: str, polls: int = 0) -> float:
        """Seconds until the next poll: some providers take one, others minutes."""
        self._seen[key] = (load_balancer, polls + 1)
        return float(min(FIRST_POLL * 1.3 ** max(0, polls - 10), LONGEST_POLL))

    def next_poll(self, key: str) -> float | None:
        """Seconds until the next poll while it is PENDING, else None."""
        load_balancer, polls = self._seen.pop(key, ("", 0))
        if load_balancer and self.load_balancers.status(load_balancer).startswith("PENDING"):
            return self.record(key, load_balancer, polls)
        return None

    def forget(self, key: str) -> None:
        self._seen.pop(key, None)


def _first(found: Iterable[FloatingIP]) -> FloatingIP | None:
    return next(iter(found), None)


def _tags(found: LoadBalancer) -> list[str]:
    """The tags of Services; old load balancers of OpenStack's cloud provider have none."""
    return [tag for tag in found.tags if tag.startswith(SERVICE_PREFIX)]
