"""What there is of a cluster's own making, and the acts by which it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from moorage.cloud.load_balancers import LoadBalancer
from moorage.cloud.network import FloatingIP
from moorage.cloud.port import Server
from moorage.cloud.volumes import CinderSnapshot, CinderVolume
from moorage.model.cluster import Belonging
from moorage.model.ownership import CLUSTER_MARK

TRIES = 5  # how often one thing's end is asked for before we say that it cannot be deleted


@dataclass(frozen=True)
class Made:
    """What one look at the cloud found. `stackless` is whether Heat has nothing of the cluster any more.

    `load_balancers` were made for the cluster; `served` have ports of its Services, with all that hangs on them. `floating`
    and `snapshots` are all of the project, volumes the cluster's. `lost` are servers at which a volume is said to be
    and which are gone; `words` is what Cinder says, by id, of what failed.
    """

    cluster: str
    stackless: bool = False
    servers: tuple[Server, ...] = ()
    load_balancers: tuple[LoadBalancer, ...] = ()
    served: tuple[LoadBalancer, ...] = ()
    floating: tuple[FloatingIP, ...] = ()
    volumes: tuple[CinderVolume, ...] = ()
    snapshots: tuple[CinderSnapshot, ...] = ()
    lost: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)


def snapshots_of(made: Made) -> list[CinderSnapshot]:
    """Those of the cluster; the others of the project matter to the volumes that they are of."""
    return [snapshot for snapshot in made.snapshots if snapshot.metadata.get(CLUSTER_MARK) == made.cluster]


@dataclass(frozen=True)
class Act:
    """One thing to ask of the cloud: about what, and in words for the person who watches."""

    id: str
    text: str


class DeleteServer(Act):
    """Of Nova, before Heat is asked: so that it makes nothing more, or because Heat does not know it."""


class DeleteLoadBalancer(Act):
    """With all that hangs on it."""


class DeletePool(Act):
    """Off a load balancer that is not the cluster's; its listener would leave it behind."""


class DeleteListener(Act):
    """Off a load balancer that is not the cluster's."""


@dataclass(frozen=True)
class Retag(Act):
    """Have a load balancer forget that it serves the cluster."""

    tags: tuple[str, ...] = ()


class DeleteFloating(Act):
    pass


class ReleaseFloating(Act):
    """Leave it to the project, as nobody's."""


class DeleteSnapshot(Act):
    pass


class DeleteVolume(Act):
    pass


class DropAttachment(Act):
    """Have Cinder know that the server at which a volume was is gone."""


class KeepVolume(Act):
    """Write on it that it is to stay: a later cluster of this name must not take it for its own to delete."""


class KeepSnapshot(Act):
    """As for a volume."""


@dataclass(frozen=True)
class Clearing:
    """What is to do now, what is on its way, what cannot be deleted; what of it all goes in the end, and what stays."""

    acts: tuple[Act, ...] = ()
    waits: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    going: tuple[Belonging, ...] = ()
    kept: tuple[Belonging, ...] = ()

    @property
    def done(self) -> bool:
        return not (self.acts or self.waits or self.stuck)


@dataclass(frozen=True)
class Clearance:
    """In this order: what is kept is to say so of itself before anything goes; `network` stand in the cluster's network,
    which cannot go before them; `storage` is free once the cluster's servers are gone."""

    keeping: Clearing = Clearing()
    network: Clearing = Clearing()
    storage: Clearing = Clearing()

    @property
    def done(self) -> bool:
        return self.keeping.done and self.network.done and self.storage.done

    @property
    def going(self) -> tuple[Belonging, ...]:
        return self.network.going + self.storage.going

    @property
    def kept(self) -> tuple[Belonging, ...]:
        return self.network.kept + self.keeping.kept


def together(given: Iterable[Clearing]) -> Clearing:
    parts = tuple(given)
    return Clearing(
        acts=tuple(act for part in parts for act in part.acts),
        waits=tuple(wait for part in parts for wait in part.waits),
        stuck=tuple(text for part in parts for text in part.stuck),
        going=tuple(thing for part in parts for thing in part.going),
        kept=tuple(thing for part in parts for thing in part.kept),
    )
