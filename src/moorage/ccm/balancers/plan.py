"""From what is wanted and what is there to the steps between them, in order. Pure: no steps when both agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from moorage.ccm.balancers.desired import Desired, Front
from moorage.ccm.balancers.listening import plan_listeners
from moorage.ccm.balancers.names import Whose, belongs, made_for, service_of, sharers, without
from moorage.ccm.balancers.steps import (
    AddRule,
    CreateBalancer,
    HandFloating,
    MakeFloating,
    MapFloating,
    ReleaseFloating,
    RemoveBalancer,
    RemoveFloating,
    RemoveListener,
    RemoveRule,
    Retag,
    Step,
)
from moorage.cloud.balancers import ACTIVE, ERROR, Balancer, Listener
from moorage.cloud.fronts import FloatingIP, Rule
from moorage.model.errors import Conflict, Failed, NotFound
from moorage.model.ownership import described_kept, service_named

AT_CREATION = {
    "network": "network-id",
    "subnet": "subnet-id",
    "port": "port-id",
    "flavor": "flavor-id",
    "zone": "availability-zone",
}


@dataclass(frozen=True)
class Observed:
    """What the cloud has. `mapped` is the floating IP on the virtual IP's port, `ours` are those that are described
    as the Service's, `asked` is the one of the address that the Service asks for; `rules` are all of the group."""

    balancer: Balancer | None = None
    mapped: FloatingIP | None = None
    ours: tuple[FloatingIP, ...] = ()
    asked: FloatingIP | None = None
    rules: tuple[Rule, ...] = ()


def plan(desired: Desired, observed: Observed) -> list[Step]:
    """NotFound, Conflict or Failed, in words for who wrote the Service, when there is no way from here to there."""
    rules = _rules_to_add(desired, observed)
    found = observed.balancer
    if found is None:
        if desired.existing:
            raise NotFound(
                f"the load balancer {desired.existing} that the Service is to use is not there",
                "correct the annotation load-balancer-id, or take it away to have one made",
            )
        return [CreateBalancer(_creatable(desired)), *rules]
    if found.provisioning == ERROR:
        return [_recreation(desired.whose, found)]
    inside = list(_inside(desired, found))
    # OVN's provider works on ports and on floating IPs side by side, and one may undo the other: these come last.
    floating = [] if inside or found.provisioning != ACTIVE else _floating(desired, found, observed)
    return [*rules, *inside, *floating, *_rules_to_remove(desired, observed)]


def unmet(desired: Desired, found: Balancer, usual_subnet: str) -> Iterator[str]:
    """A sentence for each annotation that counts only when a load balancer is made, and came later."""
    if not made_for(found, desired.whose.cluster):
        return
    for field, annotation in AT_CREATION.items():
        wished, has = getattr(desired.balancer, field), getattr(found, field)
        if wished not in ("", has) and (field, wished) != ("subnet", usual_subnet):
            yield f"the annotation {annotation} does nothing to a load balancer that is there: it has {has or 'none'}"


def plan_removal(whose: Whose, observed: Observed, keep: bool) -> list[Step]:
    """Nothing of the Service is left after these; what others have on the same load balancer is not touched."""
    rules = [RemoveRule(rule.id) for rule in observed.rules if rule.description == whose.description]
    found = observed.balancer
    if found is None:
        return [*_release(observed.ours, keep), *rules]
    if sharers(found, whose):
        return [*_handed(whose, found, observed, keep), *leave(whose, found), *rules]
    floating = _floating_to_go(whose, observed)
    if made_for(found, whose.cluster):
        return [*_release(floating, keep), RemoveBalancer(found.id), *rules]
    return [*_release(floating, keep), *leave(whose, found), *rules]


def _handed(whose: Whose, found: Balancer, observed: Observed, keep: bool) -> Iterator[Step]:
    """The floating IP of a shared load balancer stays, and becomes that of a Service which stays."""
    heirs = [key for tag in sharers(found, whose) if (key := service_named(tag, whose.cluster))]
    heir = Whose(whose.cluster, *heirs[0].split("/")) if heirs else None
    for held in observed.ours:
        if held.port == found.port:
            yield HandFloating(held.id, heir.described(keep=described_kept(held.description)) if heir else "")
        else:
            yield from _release((held,), keep)


def _creatable(desired: Desired) -> Balancer:
    """Without health monitors where the provider cannot make them in one call with the rest."""
    if desired.whole:
        return desired.balancer
    return replace(desired.balancer, listeners=tuple(_unwatched(desired.balancer)))


def _unwatched(balancer: Balancer) -> Iterator[Listener]:
    for listener in balancer.listeners:
        yield replace(listener, pool=replace(listener.pool, monitor=None) if listener.pool else None)


def _recreation(whose: Whose, found: Balancer) -> Step:
    """The next round makes it again: it asks for the address that its Service shows."""
    if sharers(found, whose) or not made_for(found, whose.cluster):
        raise Failed(
            f"the load balancer {found.id} is in ERROR, and is not this Service's alone",
            "have the cloud's operator fail it over, or delete it and its annotations",
        )
    return RemoveBalancer(found.id)


def _inside(desired: Desired, found: Balancer) -> Iterator[Step]:
    own = made_for(found, desired.whose.cluster)
    tags = set(desired.balancer.tags if own else desired.whose.guest_tags())
    if not tags <= set(found.tags):
        yield Retag(found.id, tuple(sorted(tags | set(found.tags))))
    yield from plan_listeners(desired, found)


def leave(whose: Whose, found: Balancer) -> Iterator[Step]:
    """The tag goes last: what still has it is looked at again."""
    for listener in found.listeners:
        if belongs(listener, found, whose):
            yield RemoveListener(found.id, listener.id, listener.pool.id if listener.pool else "")
    if whose.tag in found.tags:
        yield Retag(found.id, without(found, whose))


def _floating(desired: Desired, found: Balancer, observed: Observed) -> list[Step]:
    shared = bool(sharers(found, desired.whose)) or not made_for(found, desired.whose.cluster)
    mapped = observed.mapped
    if mapped and shared:
        spare = tuple(held for held in observed.ours if held.port != found.port)
        return [*_new_description(desired, mapped), *_release(spare, desired.keep)]
    if desired.front is None:
        return _release(_floating_to_go(desired.whose, observed), desired.keep) + _unmapped(desired.whose, mapped)
    spare = tuple(held for held in observed.ours if held.port != found.port)
    wrong = mapped if mapped and desired.front.address not in ("", mapped.address) else None
    if mapped and not wrong:
        return [*_new_description(desired, mapped), *_release(spare, desired.keep)]
    before = [*_release((wrong,), desired.keep)] if wrong and _described(desired.whose, wrong) else []
    before += _unmapped(desired.whose, wrong)
    if desired.front.address:
        return [*before, _at_address(desired, desired.front, found, observed), *_release(spare, desired.keep)]
    if spare:
        return [*before, MapFloating(spare[0].id, found.port), *_release(spare[1:], desired.keep)]
    text = desired.whose.described(keep=desired.keep)
    return [*before, MakeFloating(desired.front.network, desired.front.subnet, found.port, text)]


def _new_description(desired: Desired, mapped: FloatingIP) -> list[Step]:
    """That it is to be kept is written on it: whoever deletes the cluster cannot ask the Service."""
    if mapped.description not in desired.whose.descriptions or described_kept(mapped.description) == desired.keep:
        return []
    return [HandFloating(mapped.id, desired.whose.described(keep=desired.keep))]


def _at_address(desired: Desired, front: Front, found: Balancer, observed: Observed) -> Step:
    asked = observed.asked
    if asked is None:
        text = desired.whose.described(keep=desired.keep)
        return MakeFloating(front.network, front.subnet, found.port, text, front.address)
    if asked.port not in ("", found.port):
        raise Conflict(
            f"the floating IP {front.address} is in use: it is mapped to the port {asked.port}",
            "choose another spec.loadBalancerIP, or free this one",
        )
    return MapFloating(asked.id, found.port)


def _floating_to_go(whose: Whose, observed: Observed) -> tuple[FloatingIP, ...]:
    """Those that were made for the Service, and the one on the port that was made for another of its cluster."""
    mapped = observed.mapped
    if mapped and mapped not in observed.ours and _described(whose, mapped):
        return (*observed.ours, mapped)
    return observed.ours


def _described(whose: Whose, floating: FloatingIP) -> bool:
    return service_of(floating.description, whose.cluster) is not None


def _unmapped(whose: Whose, mapped: FloatingIP | None) -> list[Step]:
    """A floating IP that a person made is taken off the port, and stays."""
    return [MapFloating(mapped.id, "")] if mapped and not _described(whose, mapped) else []


def _release(floating: tuple[FloatingIP, ...], keep: bool) -> list[Step]:
    return [ReleaseFloating(held.id) if keep else RemoveFloating(held.id) for held in floating]


def _rules_to_add(desired: Desired, observed: Observed) -> list[Step]:
    there = {_bare(rule) for rule in observed.rules}
    return [AddRule(rule) for rule in desired.rules if _bare(rule) not in there]


def _rules_to_remove(desired: Desired, observed: Observed) -> list[Step]:
    wanted = {_bare(rule) for rule in desired.rules}
    ours = [rule for rule in observed.rules if rule.description == desired.whose.description]
    return [RemoveRule(rule.id) for rule in ours if _bare(rule) not in wanted]


def _bare(rule: Rule) -> Rule:
    return replace(rule, id="", description="")
