"""What the cloud has of a Service: the reading half of the reconciler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from moorage.ccm.balancers.names import Whose
from moorage.ccm.balancers.plan import Observed
from moorage.ccm.balancers.steps import Outside, Step
from moorage.cloud.balancers import ACTIVE, Balancer, Balancers
from moorage.cloud.fronts import FloatingIP, Fronts
from moorage.model.ownership import SERVICE_PREFIX

GLANCE, LONGEST = 0.3, 5.0  # seconds between two looks at a load balancer that is PENDING


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
        return self.look_before(whose, self.balancers.tree(balancer) if balancer else None, address)

    def look_before(self, whose: Whose, found: Balancer | None, address: str = "") -> Observed:
        """What stands before a load balancer that is as it was: a tree costs more calls than all the rest."""
        floating = self.fronts.floating_ips()
        return Observed(
            balancer=found,
            mapped=_first(held for held in floating if found and held.port and held.port == found.port),
            ours=tuple(held for held in floating if held.description in whose.descriptions),
            asked=_first(held for held in floating if held.address == address),
            rules=tuple(self.fronts.rules(self.group)),
        )


@dataclass
class Turn:
    """The looks at one Service in one turn. Steps in Neutron leave the load balancer as it was: it is most to ask."""

    eyes: Eyes
    whose: Whose
    existing: str = ""
    address: str = ""
    _found: Found = Found()
    _seen: Observed | None = None

    def find(self) -> Found:
        if self._seen is None:
            self._found = self.eyes.find(self.whose, self.existing)
        return self._found

    def look(self) -> Observed:
        """At what was found."""
        if self._seen is None:
            self._seen = self.eyes.look(self.whose, self._found.balancer, self.address)
        else:
            self._seen = self.eyes.look_before(self.whose, self._seen.balancer, self.address)
        return self._seen

    def acted(self, steps: Iterable[Step]) -> None:
        """These were done since."""
        found = self._seen.balancer if self._seen else None
        still = found and found.provisioning == ACTIVE and all(isinstance(step, Outside) for step in steps)
        if not still or self._found.strays:
            self._seen = None


@dataclass
class Pending:
    """Load balancers that were PENDING at the last look, by Service: one call says whether to look at all of it."""

    balancers: Balancers
    _seen: dict[str, tuple[str, int]] = field(default_factory=dict)

    def note(self, key: str, balancer: str, looks: int = 0) -> float:
        """Seconds until the next look: some providers take one, others minutes."""
        self._seen[key] = (balancer, looks + 1)
        return float(min(GLANCE * 1.3 ** max(0, looks - 10), LONGEST))

    def still(self, key: str) -> float | None:
        """Seconds until the next look while it is PENDING, else None."""
        balancer, looks = self._seen.pop(key, ("", 0))
        if balancer and self.balancers.status(balancer).startswith("PENDING"):
            return self.note(key, balancer, looks)
        return None

    def forget(self, key: str) -> None:
        self._seen.pop(key, None)


def _first(found: Iterable[FloatingIP]) -> FloatingIP | None:
    return next(iter(found), None)


def _tags(found: Balancer) -> list[str]:
    """Those that say whose it is; the first load balancers of the provider before us had none."""
    return [tag for tag in found.tags if tag.startswith(SERVICE_PREFIX)]
