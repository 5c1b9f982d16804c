"""Reads the resources of a Service from the cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from moorage.ccm.load_balancers.execute import NetworkStep, Step
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.plan import Observed
from moorage.cloud.port.load_balancers import ACTIVE, LoadBalancer, LoadBalancers
from moorage.cloud.port.network import FloatingIP, Network
from moorage.model.ownership import SERVICE_PREFIX

FIRST_POLL, LONGEST_POLL = 0.3, 5.0  # seconds between two polls of a PENDING load balancer


@dataclass(frozen=True)
class Candidates:
    """Ids of load balancers. `load_balancer` is empty if none exists; the Service must leave the `surplus` ones."""

    load_balancer: str = ""
    surplus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observer:
    """`group` is the security group of the nodes. Every call may raise CloudUnreachable."""

    load_balancers: LoadBalancers
    network: Network
    group: str

    def find(self, service_ref: ServiceRef, existing: str) -> Candidates:
        """Finds the Service's load balancer, preferring the one that it names; the others are surplus."""
        tagged = self.load_balancers.tagged(service_ref.tag)
        found = tagged or [one for one in self.load_balancers.named(service_ref.tag) if not _service_tags(one)]
        ids = [one.id for one in sorted(found, key=lambda one: (one.name != service_ref.tag, one.id))]
        if existing and (existing in ids or self.load_balancers.status(existing)):
            ids = [existing, *(id for id in ids if id != existing)]
        return Candidates(ids[0] if ids else "", tuple(ids[1:]))

    def observe(self, service_ref: ServiceRef, load_balancer: str, address: str = "") -> Observed:
        """The complete state, with the load balancer of that id; `address` is the floating IP that is requested."""
        return self.observe_network(
            service_ref, self.load_balancers.get(load_balancer) if load_balancer else None, address
        )

    def observe_network(
        self, service_ref: ServiceRef, load_balancer: LoadBalancer | None, address: str = ""
    ) -> Observed:
        """Reads Neutron only, for an unchanged load balancer: reading its tree costs more calls than all the rest."""
        floating_ips = self.network.floating_ips()
        port = load_balancer.port if load_balancer else ""
        return Observed(
            load_balancer=load_balancer,
            mapped=_first(found for found in floating_ips if found.port and found.port == port),
            owned=tuple(found for found in floating_ips if found.description in service_ref.floating_ip_descriptions),
            requested=_first(found for found in floating_ips if found.address == address),
            rules=tuple(self.network.rules(self.group)),
        )


@dataclass
class ObservedState:
    """The observed state of one Service within one reconciliation.

    After steps in Neutron alone, it reuses the load balancer, which is the most expensive part to read.
    """

    observer: Observer
    service_ref: ServiceRef
    existing: str = ""
    address: str = ""
    _candidates: Candidates = Candidates()
    _observed: Observed | None = None

    def find(self) -> Candidates:
        if self._observed is None:
            self._candidates = self.observer.find(self.service_ref, self.existing)
        return self._candidates

    def observe(self) -> Observed:
        """Reads the load balancer that `find` returned."""
        if self._observed is None:
            self._observed = self.observer.observe(self.service_ref, self._candidates.load_balancer, self.address)
        else:
            load_balancer = self._observed.load_balancer
            self._observed = self.observer.observe_network(self.service_ref, load_balancer, self.address)
        return self._observed

    def invalidate(self, steps: Iterable[Step]) -> None:
        """Discards what these steps, executed since, may have changed."""
        found = self._observed.load_balancer if self._observed else None
        active = found and found.provisioning_status == ACTIVE
        unchanged = active and all(isinstance(step, NetworkStep) for step in steps)
        if not unchanged or self._candidates.surplus:
            self._observed = None


@dataclass
class PendingOperations:
    """The PENDING load balancers, by Service. Polling one costs a single call, for its status."""

    load_balancers: LoadBalancers
    _polled: dict[str, tuple[str, int]] = field(default_factory=dict)

    def record(self, key: str, load_balancer: str, polls: int = 0) -> float:
        """Returns the seconds until the next poll: some providers need a second, others minutes."""
        self._polled[key] = (load_balancer, polls + 1)
        return float(min(FIRST_POLL * 1.3 ** max(0, polls - 10), LONGEST_POLL))

    def next_poll(self, key: str) -> float | None:
        """Returns the seconds until the next poll, None if it is no longer PENDING."""
        load_balancer, polls = self._polled.pop(key, ("", 0))
        if load_balancer and self.load_balancers.status(load_balancer).startswith("PENDING"):
            return self.record(key, load_balancer, polls)
        return None

    def forget(self, key: str) -> None:
        self._polled.pop(key, None)


def _first(floating_ips: Iterable[FloatingIP]) -> FloatingIP | None:
    return next(iter(floating_ips), None)


def _service_tags(load_balancer: LoadBalancer) -> list[str]:
    """The tags that name Services; early versions of OpenStack's cloud provider did not set any."""
    return [tag for tag in load_balancer.tags if tag.startswith(SERVICE_PREFIX)]
