"""What the cloud has of a Service: the reading half of the reconciler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moorage.ccm.balancers.names import Whose
from moorage.ccm.balancers.plan import Observed
from moorage.cloud.balancers import Balancer, Balancers
from moorage.cloud.fronts import FloatingIP, Fronts
from moorage.model.ownership import SERVICE_PREFIX


@dataclass(frozen=True)
class Found:
    """Ids of load balancers: empty when there is none. `strays` have ports of the Service and are not to."""

    balancer: str = ""
    strays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Eyes:
    """`group` is the security group of the nodes. Every call may raise CloudUnreachable."""

    balancers: Balancers
    fronts: Fronts
    group: str

    def find(self, whose: Whose, existing: str) -> Found:
        """The Service's load balancer, the one that it names before its own; and others that are to be left."""
        tagged = self.balancers.tagged(whose.tag)
        own = tagged or [found for found in self.balancers.named(whose.tag) if not _tags(found)]
        ids = [found.id for found in sorted(own, key=lambda found: (found.name != whose.tag, found.id))]
        if existing and (existing in ids or self.balancers.status(existing)):
            ids = [existing, *(id for id in ids if id != existing)]
        return Found(ids[0] if ids else "", tuple(ids[1:]))

    def look(self, whose: Whose, balancer: str, address: str = "") -> Observed:
        """All of it, of the load balancer with that id; `address` is the floating IP that the Service asks for."""
        found = self.balancers.tree(balancer) if balancer else None
        floating = self.fronts.floating_ips()
        return Observed(
            balancer=found,
            mapped=_first(held for held in floating if found and held.port and held.port == found.port),
            ours=tuple(held for held in floating if held.description in whose.descriptions),
            asked=_first(held for held in floating if held.address == address),
            rules=tuple(self.fronts.rules(self.group)),
        )


def _first(found: Iterable[FloatingIP]) -> FloatingIP | None:
    return next(iter(found), None)


def _tags(found: Balancer) -> list[str]:
    """Those that say whose it is; the first load balancers of the provider before us had none."""
    return [tag for tag in found.tags if tag.startswith(SERVICE_PREFIX)]
