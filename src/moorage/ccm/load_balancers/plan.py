"""From what is wanted and what is there to the steps between them, in order. Pure: no steps when both agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from moorage.ccm.load_balancers.desired import DesiredLoadBalancer, FloatingIPRequest
from moorage.ccm.load_balancers.listeners import plan_listeners
from moorage.ccm.load_balancers.names import (
    ServiceRef,
    is_listener_of,
    made_for,
    other_services,
    service_of,
    tags_without,
)
from moorage.ccm.load_balancers.steps import (
    AssociateFloatingIP,
    CreateFloatingIP,
    CreateLoadBalancer,
    CreateRule,
    DeleteFloatingIP,
    DeleteListener,
    DeleteLoadBalancer,
    DeleteRule,
    HandOverFloatingIP,
    ReleaseFloatingIP,
    SetTags,
    Step,
)
from moorage.cloud.load_balancers import ACTIVE, ERROR, Listener, LoadBalancer
from moorage.cloud.network import FloatingIP, SecurityGroupRule
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

    load_balancer: LoadBalancer | None = None
    mapped: FloatingIP | None = None
    ours: tuple[FloatingIP, ...] = ()
    asked: FloatingIP | None = None
    rules: tuple[SecurityGroupRule, ...] = ()


def plan(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    """NotFound, Conflict or Failed, in words for who wrote the Service, when there is no way from here to there."""
    rules = _rules_to_add(desired, observed)
    found = observed.load_balancer
    if found is None:
        if desired.existing:
            raise NotFound(
                f"the load balancer {desired.existing} that the Service is to use is not there",
                "correct the annotation load-balancer-id, or take it away to have one made",
            )
        return [CreateLoadBalancer(_creatable(desired)), *rules]
    if found.provisioning_status == ERROR:
        return [_recreation(desired.service_ref, found)]
    inside = list(_execute_load_balancer(desired, found))
    # OVN's provider works on ports and on floating IPs side by side, and one may undo the other: these come last.
    floating = [] if inside or found.provisioning_status != ACTIVE else _floating(desired, found, observed)
    return [*rules, *inside, *floating, *_rules_to_remove(desired, observed)]


def unmet(desired: DesiredLoadBalancer, found: LoadBalancer, usual_subnet: str) -> Iterator[str]:
    """A sentence for each annotation that counts only when a load balancer is made, and came later."""
    if not made_for(found, desired.service_ref.cluster):
        return
    for field, annotation in AT_CREATION.items():
        wished, has = getattr(desired.load_balancer, field), getattr(found, field)
        if wished not in ("", has) and (field, wished) != ("subnet", usual_subnet):
            yield f"the annotation {annotation} does nothing to a load balancer that is there: it has {has or 'none'}"


def plan_removal(service_ref: ServiceRef, observed: Observed, keep: bool) -> list[Step]:
    """Nothing of the Service is left after these; what others have on the same load balancer is not touched."""
    rules = [DeleteRule(rule.id) for rule in observed.rules if rule.description == service_ref.description]
    found = observed.load_balancer
    if found is None:
        return [*_release(observed.ours, keep), *rules]
    if other_services(found, service_ref):
        return [*_handed(service_ref, found, observed, keep), *plan_leave(service_ref, found), *rules]
    floating = _floating_to_go(service_ref, observed)
    if made_for(found, service_ref.cluster):
        return [*_release(floating, keep), DeleteLoadBalancer(found.id), *rules]
    return [*_release(floating, keep), *plan_leave(service_ref, found), *rules]


def _handed(service_ref: ServiceRef, found: LoadBalancer, observed: Observed, keep: bool) -> Iterator[Step]:
    """The floating IP of a shared load balancer stays, and becomes that of a Service which stays."""
    heirs = [key for tag in other_services(found, service_ref) if (key := service_named(tag, service_ref.cluster))]
    heir = ServiceRef(service_ref.cluster, *heirs[0].split("/")) if heirs else None
    for held in observed.ours:
        if held.port == found.port:
            yield HandOverFloatingIP(held.id, heir.described(keep=described_kept(held.description)) if heir else "")
        else:
            yield from _release((held,), keep)


def _creatable(desired: DesiredLoadBalancer) -> LoadBalancer:
    """Without health monitors where the provider cannot make them in one call with the rest."""
    if desired.whole:
        return desired.load_balancer
    return replace(desired.load_balancer, listeners=tuple(_unwatched(desired.load_balancer)))


def _unwatched(load_balancer: LoadBalancer) -> Iterator[Listener]:
    for listener in load_balancer.listeners:
        yield replace(listener, pool=replace(listener.pool, monitor=None) if listener.pool else None)


def _recreation(service_ref: ServiceRef, found: LoadBalancer) -> Step:
    """The next round makes it again: it asks for the address that its Service shows."""
    if other_services(found, service_ref) or not made_for(found, service_ref.cluster):
        raise Failed(
            f"the load balancer {found.id} is in ERROR, and is not this Service's alone",
            "have the cloud's operator fail it over, or delete it and its annotations",
        )
    return DeleteLoadBalancer(found.id)


def _execute_load_balancer(desired: DesiredLoadBalancer, found: LoadBalancer) -> Iterator[Step]:
    own = made_for(found, desired.service_ref.cluster)
    tags = set(desired.load_balancer.tags if own else desired.service_ref.shared_tags())
    if not tags <= set(found.tags):
        yield SetTags(found.id, tuple(sorted(tags | set(found.tags))))
    yield from plan_listeners(desired, found)


def plan_leave(service_ref: ServiceRef, found: LoadBalancer) -> Iterator[Step]:
    """The tag goes last: what still has it is looked at again."""
    for listener in found.listeners:
        if is_listener_of(listener, found, service_ref):
            yield DeleteListener(found.id, listener.id, listener.pool.id if listener.pool else "")
    if service_ref.tag in found.tags:
        yield SetTags(found.id, tags_without(found, service_ref))


def _floating(desired: DesiredLoadBalancer, found: LoadBalancer, observed: Observed) -> list[Step]:
    shared = bool(other_services(found, desired.service_ref)) or not made_for(found, desired.service_ref.cluster)
    mapped = observed.mapped
    if mapped and shared:
        spare = tuple(held for held in observed.ours if held.port != found.port)
        return [*_new_description(desired, mapped), *_release(spare, desired.keep)]
    if desired.floating_ip is None:
        return _release(_floating_to_go(desired.service_ref, observed), desired.keep) + _unmapped(
            desired.service_ref, mapped
        )
    spare = tuple(held for held in observed.ours if held.port != found.port)
    wrong = mapped if mapped and desired.floating_ip.address not in ("", mapped.address) else None
    if mapped and not wrong:
        return [*_new_description(desired, mapped), *_release(spare, desired.keep)]
    before = [*_release((wrong,), desired.keep)] if wrong and _described(desired.service_ref, wrong) else []
    before += _unmapped(desired.service_ref, wrong)
    if desired.floating_ip.address:
        return [*before, _at_address(desired, desired.floating_ip, found, observed), *_release(spare, desired.keep)]
    if spare:
        return [*before, AssociateFloatingIP(spare[0].id, found.port), *_release(spare[1:], desired.keep)]
    text = desired.service_ref.described(keep=desired.keep)
    return [*before, CreateFloatingIP(desired.floating_ip.network, desired.floating_ip.subnet, found.port, text)]


def _new_description(desired: DesiredLoadBalancer, mapped: FloatingIP) -> list[Step]:
    """That it is to be kept is written on it: whoever deletes the cluster cannot ask the Service."""
    if mapped.description not in desired.service_ref.descriptions or described_kept(mapped.description) == desired.keep:
        return []
    return [HandOverFloatingIP(mapped.id, desired.service_ref.described(keep=desired.keep))]


def _at_address(
    desired: DesiredLoadBalancer, floating_ip: FloatingIPRequest, found: LoadBalancer, observed: Observed
) -> Step:
    asked = observed.asked
    if asked is None:
        text = desired.service_ref.described(keep=desired.keep)
        return CreateFloatingIP(floating_ip.network, floating_ip.subnet, found.port, text, floating_ip.address)
    if asked.port not in ("", found.port):
        raise Conflict(
            f"the floating IP {floating_ip.address} is in use: it is mapped to the port {asked.port}",
            "choose another spec.loadBalancerIP, or free this one",
        )
    return AssociateFloatingIP(asked.id, found.port)


def _floating_to_go(service_ref: ServiceRef, observed: Observed) -> tuple[FloatingIP, ...]:
    """Those that were made for the Service, and the one on the port that was made for another of its cluster."""
    mapped = observed.mapped
    if mapped and mapped not in observed.ours and _described(service_ref, mapped):
        return (*observed.ours, mapped)
    return observed.ours


def _described(service_ref: ServiceRef, floating: FloatingIP) -> bool:
    return service_of(floating.description, service_ref.cluster) is not None


def _unmapped(service_ref: ServiceRef, mapped: FloatingIP | None) -> list[Step]:
    """A floating IP that a person made is taken off the port, and stays."""
    return [AssociateFloatingIP(mapped.id, "")] if mapped and not _described(service_ref, mapped) else []


def _release(floating: tuple[FloatingIP, ...], keep: bool) -> list[Step]:
    return [ReleaseFloatingIP(held.id) if keep else DeleteFloatingIP(held.id) for held in floating]


def _rules_to_add(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    there = {_bare(rule) for rule in observed.rules}
    return [CreateRule(rule) for rule in desired.rules if _bare(rule) not in there]


def _rules_to_remove(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    wanted = {_bare(rule) for rule in desired.rules}
    ours = [rule for rule in observed.rules if rule.description == desired.service_ref.description]
    return [DeleteRule(rule.id) for rule in ours if _bare(rule) not in wanted]


def _bare(rule: SecurityGroupRule) -> SecurityGroupRule:
    return replace(rule, id="", description="")
