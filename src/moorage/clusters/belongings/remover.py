"""Takes a cluster's belongings away: look, plan, ask; from whatever was left the last time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from moorage.cloud.load_balancers import LoadBalancers
from moorage.cloud.port import Cloud
from moorage.cloud.volumes import Volumes
from moorage.clusters.belongings.look import look
from moorage.clusters.belongings.network import plan_network
from moorage.clusters.belongings.storage import plan_keeping, plan_storage
from moorage.clusters.belongings.things import (
    Act,
    Clearance,
    DeleteFloating,
    DeleteListener,
    DeleteLoadBalancer,
    DeletePool,
    DeleteServer,
    DeleteSnapshot,
    DeleteVolume,
    DropAttachment,
    KeepSnapshot,
    KeepVolume,
    ReleaseFloating,
    Retag,
)
from moorage.model.cluster import Belonging
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound
from moorage.model.ownership import RECLAIM_MARK, RETAIN

T = TypeVar("T")
MARK = {RECLAIM_MARK: RETAIN}


@dataclass
class Remover:
    """For one cluster; with `keep` no volume and no snapshot goes. `seen` is what the last look made of it; `kept` is
    all that was to stay, by id, as it was seen first: what was marked to stay no longer tells why."""

    cloud: Cloud
    cluster: str
    keep: bool = False
    seen: Clearance | None = None
    kept: dict[str, Belonging] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)

    def look(self, *, stackless: bool) -> Clearance:
        """CloudUnreachable when a service cannot be asked."""
        made = look(self.cloud, self.cluster, stackless=stackless)
        self.seen = Clearance(
            plan_keeping(made, self.keep, self._asked),
            plan_network(made, self._asked),
            plan_storage(made, self.keep, self._asked),
        )
        self.kept = {thing.id: thing for thing in self.seen.kept} | self.kept
        return self.seen

    def carry_out(self, acts: Iterable[Act], say: Callable[[str], None]) -> None:
        """Each may be refused, and is looked at again; when a service does not answer the rest waits too."""
        for act in acts:
            say(act.text)
            try:
                self._do(act)
            except NotFound:
                continue  # it went meanwhile
            except (Conflict, BadInput) as error:
                say(f"{act.text}: {error.message}")
            except CloudUnreachable as error:
                say(f"waiting for the cloud: {error.message}")
                return
            self._asked[act.id] += 1

    def _do(self, act: Act) -> None:
        match act:
            case DeleteServer():
                self.cloud.delete_server(act.id)
            case DeleteFloating():
                self.cloud.network.delete_floating_ip(act.id)
            case ReleaseFloating():
                self.cloud.network.associate_floating_ip(act.id, "")
                self.cloud.network.set_floating_ip_description(act.id, "")
            case DeleteLoadBalancer() | DeletePool() | DeleteListener() | Retag():
                _balance(_known(self.cloud.load_balancers), act)
            case _:
                _store(_known(self.cloud.volumes), act)


def _known(port: T | None) -> T:
    assert port is not None, "what is to be deleted was found by it"
    return port


def _balance(do: LoadBalancers, act: Act) -> None:
    match act:
        case DeleteLoadBalancer():
            do.delete(act.id)
        case DeletePool():
            do.delete_pool(act.id)
        case DeleteListener():
            do.delete_listener(act.id)
        case Retag():
            do.set_tags(act.id, act.tags)


def _store(do: Volumes, act: Act) -> None:
    match act:
        case DeleteSnapshot():
            do.delete_snapshot(act.id)
        case DeleteVolume():
            do.delete(act.id)
        case DropAttachment():
            do.forget(act.id)
        case KeepVolume():
            do.mark(act.id, MARK)
        case KeepSnapshot():
            do.mark_snapshot(act.id, MARK)
