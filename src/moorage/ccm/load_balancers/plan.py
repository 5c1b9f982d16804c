"""Plan the steps from the observed to the desired load balancer, in order; none when both agree. Pure."""

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
    """The observed state.

    `mapped` is the floating IP of the virtual IP's port, `ours` are those with the Service's description, `asked` is
    the one with the requested address; `rules` are all of the security group.
    """

    load_balancer: LoadBalancer | None = None
    mapped: FloatingIP | None = None
    ours: tuple[FloatingIP, ...] = ()
    asked: FloatingIP | None = None
    rules: tuple[SecurityGroupRule, ...] = ()


def plan(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    """NotFound, Conflict or Failed, with a message for the Service's author, when no steps lead there."""
    rules = _rules_to_add(desired, observed)
    found = observed.load_balancer
    if found is None:
        if desired.existing:
            raise NotFound(
                f"the load balancer {desired.existing} that the Service names does not exist",
                "correct the annotation load-balancer-id, or remove it to have one created",
            )
        return [CreateLoadBalancer(_creatable(desired)), *rules]
    if found.provisioning_status == ERROR:
        return [_recreation(desired.service_ref, found)]
    inside = list(_execute_load_balancer(desired, found))
    # OVN's provider changes ports and floating IPs in parallel, and one may undo the other. So these come last.
    floating = [] if inside or found.provisioning_status != ACTIVE else _floating(desired, found, observed)
    return [*rules, *inside, *floating, *_rules_to_remove(desired, observed)]


def unmet(desired: DesiredLoadBalancer, found: LoadBalancer, usual_subnet: str) -> Iterator[str]:
    """A message for each annotation that is effective only at creation, and was added later."""
    if not made_for(found, desired.service_ref.cluster):
        return
    for field, annotation in AT_CREATION.items():
        wished, has = getattr(desired.load_balancer, field), getattr(found, field)
        if wished not in ("", has) and (field, wished) != ("subnet", usual_subnet):
            yield f"the annotation {annotation} has no effect on an existing load balancer: it has {has or 'none'}"


def plan_removal(service_ref: ServiceRef, observed: Observed, keep: bool) -> list[Step]:
    """Steps that delete everything of the Service, and nothing of others on the same load balancer."""
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
    """The floating IP of a shared load balancer is kept, and handed over to a remaining Service."""
    heirs = [key for tag in other_services(found, service_ref) if (key := service_named(tag, service_ref.cluster))]
    heir = ServiceRef(service_ref.cluster, *heirs[0].split("/")) if heirs else None
    for held in observed.ours:
        if held.port == found.port:
            yield HandOverFloatingIP(held.id, heir.described(keep=described_kept(held.description)) if heir else "")
        else:
            yield from _release((held,), keep)


def _creatable(desired: DesiredLoadBalancer) -> LoadBalancer:
    """Without health monitors when the provider cannot create them in the same call."""
    if desired.whole:
        return desired.load_balancer
    return replace(desired.load_balancer, listeners=tuple(_unwatched(desired.load_balancer)))


def _unwatched(load_balancer: LoadBalancer) -> Iterator[Listener]:
    for listener in load_balancer.listeners:
        yield replace(listener, pool=replace(listener.pool, monitor=None) if listener.pool else None)


def _recreation(service_ref: ServiceRef, found: LoadBalancer) -> Step:
    """The next round creates it again, with the address in the Service's status."""
    if other_services(found, service_ref) or not made_for(found, service_ref.cluster):
        raise Failed(
            f"the load balancer {found.id} is in ERROR, and other Services use it",
            "ask the cloud's operator to fail it over, or delete it and its annotations",
        )
    return DeleteLoadBalancer(found.id)


def _execute_load_balancer(desired: DesiredLoadBalancer, found: LoadBalancer) -> Iterator[Step]:
    own = made_for(found, desired.service_ref.cluster)
    tags = set(desired.load_balancer.tags if own else desired.service_ref.shared_tags())
    if not tags <= set(found.tags):
        yield SetTags(found.id, tuple(sorted(tags | set(found.tags))))
    yield from plan_listeners(desired, found)


def plan_leave(service_ref: ServiceRef, found: LoadBalancer) -> Iterator[Step]:
    """The tag is removed last, so that an interrupted run finds the load balancer again."""
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
    """Write into the description that it is kept: the deletion of the cluster cannot read the Service."""
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
            f"the floating IP {floating_ip.address} is in use: it is associated with the port {asked.port}",
            "choose another spec.loadBalancerIP, or release this one",
        )
    return AssociateFloatingIP(asked.id, found.port)


def _floating_to_go(service_ref: ServiceRef, observed: Observed) -> tuple[FloatingIP, ...]:
    """Those that were created for the Service, and the one on the port that was created for another Service of the
    cluster.
    """
    mapped = observed.mapped
    if mapped and mapped not in observed.ours and _described(service_ref, mapped):
        return (*observed.ours, mapped)
    return observed.ours


def _described(service_ref: ServiceRef, floating: FloatingIP) -> bool:
    return service_of(floating.description, service_ref.cluster) is not None


def _unmapped(service_ref: ServiceRef, mapped: FloatingIP | None) -> list[Step]:
    """A floating IP that a user created is dissociated and kept."""
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
