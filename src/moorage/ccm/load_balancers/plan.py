"""Plans the steps from the observed to the desired state, in order. Pure: no steps when both agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from moorage.ccm.load_balancers.desired import DesiredLoadBalancer, FloatingIPRequest
from moorage.ccm.load_balancers.execute import (
    AssociateFloatingIP,
    CreateFloatingIP,
    CreateHealthMonitor,
    CreateListener,
    CreateLoadBalancer,
    CreatePool,
    CreateRule,
    DeleteFloatingIP,
    DeleteHealthMonitor,
    DeleteListener,
    DeleteLoadBalancer,
    DeletePool,
    DeleteRule,
    ReleaseFloatingIP,
    SetFloatingIPDescription,
    SetMembers,
    SetTags,
    Step,
    UpdateHealthMonitor,
    UpdateListener,
    UpdatePool,
)
from moorage.ccm.load_balancers.names import (
    ServiceRef,
    described_service_key,
    is_listener_of,
    other_service_tags,
    tags_without_service,
    was_created_for,
)
from moorage.cloud.port.load_balancers import ACTIVE, ERROR, HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.cloud.port.network import FloatingIP, SecurityGroupRule
from moorage.model.errors import Conflict, Failed, NotFound
from moorage.model.ownership import described_kept, service_named

CREATION_ONLY = {
    "network": "network-id",
    "subnet": "subnet-id",
    "port": "port-id",
    "flavor": "flavor-id",
    "zone": "availability-zone",
}


@dataclass(frozen=True)
class Observed:
    """The state of the cloud.

    `mapped` is the floating IP on the virtual IP's port, `owned` are those with the Service's description, `requested`
    is the one with the address that the Service requests; `rules` are all rules of the security group.
    """

    load_balancer: LoadBalancer | None = None
    mapped: FloatingIP | None = None
    owned: tuple[FloatingIP, ...] = ()
    requested: FloatingIP | None = None
    rules: tuple[SecurityGroupRule, ...] = ()


def plan(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    """Raises NotFound, Conflict or Failed, with a message for the Service's author, when no steps lead there."""
    rules = _rules_to_add(desired, observed)
    load_balancer = observed.load_balancer
    if load_balancer is None:
        if desired.existing:
            raise NotFound(
                f"the load balancer {desired.existing} that the Service names does not exist",
                "correct the annotation load-balancer-id, or remove it to have a load balancer created",
            )
        return [CreateLoadBalancer(_creatable(desired)), *rules]
    if load_balancer.provisioning_status == ERROR:
        return [_plan_recreation(desired.service_ref, load_balancer)]
    octavia = list(_plan_load_balancer(desired, load_balancer))
    # OVN's provider updates ports and floating IPs concurrently, and one may undo the other: floating IPs come last.
    ready = not octavia and load_balancer.provisioning_status == ACTIVE
    floating_ip = _plan_floating_ip(desired, load_balancer, observed) if ready else []
    return [*rules, *octavia, *floating_ip, *_rules_to_remove(desired, observed)]


def ignored_annotations(
    desired: DesiredLoadBalancer, load_balancer: LoadBalancer, default_subnet: str
) -> Iterator[str]:
    """A message for each annotation that applies only when a load balancer is created, and that was added later."""
    if not was_created_for(load_balancer, desired.service_ref.cluster):
        return
    for field, annotation in CREATION_ONLY.items():
        requested, actual = getattr(desired.load_balancer, field), getattr(load_balancer, field)
        if requested not in ("", actual) and (field, requested) != ("subnet", default_subnet):
            yield f"the annotation {annotation} does nothing to an existing load balancer: it keeps {actual or 'none'}"


def plan_removal(service_ref: ServiceRef, observed: Observed, keep_floating_ip: bool) -> list[Step]:
    """Removes all resources of the Service, and keeps those of other Services on the same load balancer."""
    rules = [DeleteRule(rule.id) for rule in observed.rules if rule.description == service_ref.description]
    load_balancer = observed.load_balancer
    if load_balancer is None:
        return [*_remove_floating_ips(observed.owned, keep_floating_ip), *rules]
    if other_service_tags(load_balancer, service_ref):
        floating_ips = _hand_over_floating_ips(service_ref, load_balancer, observed, keep_floating_ip)
        return [*floating_ips, *plan_detach(service_ref, load_balancer), *rules]
    removal = _remove_floating_ips(_removable_floating_ips(service_ref, observed), keep_floating_ip)
    if was_created_for(load_balancer, service_ref.cluster):
        return [*removal, DeleteLoadBalancer(load_balancer.id), *rules]
    return [*removal, *plan_detach(service_ref, load_balancer), *rules]


def _hand_over_floating_ips(
    service_ref: ServiceRef, load_balancer: LoadBalancer, observed: Observed, keep: bool
) -> Iterator[Step]:
    """Assigns the floating IP of a shared load balancer to one of the remaining Services."""
    tags = other_service_tags(load_balancer, service_ref)
    keys = [key for tag in tags if (key := service_named(tag, service_ref.cluster))]
    successor = ServiceRef(service_ref.cluster, *keys[0].split("/")) if keys else None
    for floating_ip in observed.owned:
        if floating_ip.port == load_balancer.port:
            kept = described_kept(floating_ip.description)
            description = successor.floating_ip_description(keep=kept) if successor else ""
            yield SetFloatingIPDescription(floating_ip.id, description)
        else:
            yield from _remove_floating_ips((floating_ip,), keep)


def _creatable(desired: DesiredLoadBalancer) -> LoadBalancer:
    """Omits the health monitors if the provider cannot create them in the same call."""
    if desired.inline_monitors:
        return desired.load_balancer
    return replace(desired.load_balancer, listeners=tuple(_without_monitors(desired.load_balancer)))


def _without_monitors(load_balancer: LoadBalancer) -> Iterator[Listener]:
    for listener in load_balancer.listeners:
        yield replace(listener, pool=replace(listener.pool, monitor=None) if listener.pool else None)


def _plan_recreation(service_ref: ServiceRef, load_balancer: LoadBalancer) -> Step:
    """Deletes it; the next round creates it with the address in the Service's status."""
    if other_service_tags(load_balancer, service_ref) or not was_created_for(load_balancer, service_ref.cluster):
        raise Failed(
            f"the load balancer {load_balancer.id} is in ERROR, and this Service is not its only user",
            "ask the cloud's operator for a failover, or delete it and the annotations that name it",
        )
    return DeleteLoadBalancer(load_balancer.id)


def _plan_load_balancer(desired: DesiredLoadBalancer, load_balancer: LoadBalancer) -> Iterator[Step]:
    created = was_created_for(load_balancer, desired.service_ref.cluster)
    tags = set(desired.load_balancer.tags if created else desired.service_ref.shared_tags())
    if not tags <= set(load_balancer.tags):
        yield SetTags(load_balancer.id, tuple(sorted(tags | set(load_balancer.tags))))
    yield from plan_listeners(desired, load_balancer)


def plan_detach(service_ref: ServiceRef, load_balancer: LoadBalancer) -> Iterator[Step]:
    """Removes the Service's listeners, and its tag last, so that an interrupted removal is found and continued."""
    for listener in load_balancer.listeners:
        if is_listener_of(listener, load_balancer, service_ref):
            yield DeleteListener(load_balancer.id, listener.id, listener.pool.id if listener.pool else "")
    if service_ref.tag in load_balancer.tags:
        yield SetTags(load_balancer.id, tags_without_service(load_balancer, service_ref))


def _plan_floating_ip(desired: DesiredLoadBalancer, load_balancer: LoadBalancer, observed: Observed) -> list[Step]:
    service_ref, keep, mapped = desired.service_ref, desired.keep_floating_ip, observed.mapped
    shared = bool(other_service_tags(load_balancer, service_ref)) or not was_created_for(
        load_balancer, service_ref.cluster
    )
    spare = tuple(floating_ip for floating_ip in observed.owned if floating_ip.port != load_balancer.port)
    if mapped and shared:
        return [*_update_description(desired, mapped), *_remove_floating_ips(spare, keep)]
    request = desired.floating_ip
    if request is None:
        removable = _removable_floating_ips(service_ref, observed)
        return _remove_floating_ips(removable, keep) + _unmap_foreign(service_ref, mapped)
    wrong = mapped if mapped and request.address not in ("", mapped.address) else None
    if mapped and not wrong:
        return [*_update_description(desired, mapped), *_remove_floating_ips(spare, keep)]
    first_steps = [*_remove_floating_ips((wrong,), keep)] if wrong and _is_owned(service_ref, wrong) else []
    first_steps += _unmap_foreign(service_ref, wrong)
    if request.address:
        mapping = _map_requested_address(desired, request, load_balancer, observed)
        return [*first_steps, mapping, *_remove_floating_ips(spare, keep)]
    if spare:
        return [
            *first_steps,
            AssociateFloatingIP(spare[0].id, load_balancer.port),
            *_remove_floating_ips(spare[1:], keep),
        ]
    description = service_ref.floating_ip_description(keep=keep)
    return [*first_steps, CreateFloatingIP(request.network, request.subnet, load_balancer.port, description)]


def _update_description(desired: DesiredLoadBalancer, mapped: FloatingIP) -> list[Step]:
    """Records on the floating IP whether it is kept: `moorage cluster delete` cannot read the Service."""
    descriptions = desired.service_ref.floating_ip_descriptions
    if mapped.description not in descriptions or described_kept(mapped.description) == desired.keep_floating_ip:
        return []
    description = desired.service_ref.floating_ip_description(keep=desired.keep_floating_ip)
    return [SetFloatingIPDescription(mapped.id, description)]


def _map_requested_address(
    desired: DesiredLoadBalancer, request: FloatingIPRequest, load_balancer: LoadBalancer, observed: Observed
) -> Step:
    floating_ip = observed.requested
    if floating_ip is None:
        description = desired.service_ref.floating_ip_description(keep=desired.keep_floating_ip)
        return CreateFloatingIP(request.network, request.subnet, load_balancer.port, description, request.address)
    if floating_ip.port not in ("", load_balancer.port):
        raise Conflict(
            f"the floating IP {request.address} is in use: it is mapped to the port {floating_ip.port}",
            "choose another spec.loadBalancerIP, or unmap this one",
        )
    return AssociateFloatingIP(floating_ip.id, load_balancer.port)


def _removable_floating_ips(service_ref: ServiceRef, observed: Observed) -> tuple[FloatingIP, ...]:
    """The Service's floating IPs, and the one on the port if it was created for another Service of the cluster."""
    mapped = observed.mapped
    if mapped and mapped not in observed.owned and _is_owned(service_ref, mapped):
        return (*observed.owned, mapped)
    return observed.owned


def _is_owned(service_ref: ServiceRef, floating_ip: FloatingIP) -> bool:
    """Whether it was created for any Service of the cluster."""
    return described_service_key(floating_ip.description, service_ref.cluster) is not None


def _unmap_foreign(service_ref: ServiceRef, mapped: FloatingIP | None) -> list[Step]:
    """Unmaps a floating IP that a user created, without deleting it."""
    return [AssociateFloatingIP(mapped.id, "")] if mapped and not _is_owned(service_ref, mapped) else []


def _remove_floating_ips(floating_ips: tuple[FloatingIP, ...], keep: bool) -> list[Step]:
    """Deletes them, or releases them to the project with `keep`."""
    return [ReleaseFloatingIP(found.id) if keep else DeleteFloatingIP(found.id) for found in floating_ips]


def _rules_to_add(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    existing = {_rule_content(rule) for rule in observed.rules}
    return [CreateRule(rule) for rule in desired.rules if _rule_content(rule) not in existing]


def _rules_to_remove(desired: DesiredLoadBalancer, observed: Observed) -> list[Step]:
    needed = {_rule_content(rule) for rule in desired.rules}
    owned = [rule for rule in observed.rules if rule.description == desired.service_ref.description]
    return [DeleteRule(rule.id) for rule in owned if _rule_content(rule) not in needed]


def _rule_content(rule: SecurityGroupRule) -> SecurityGroupRule:
    return replace(rule, id="", description="")


def plan_listeners(desired: DesiredLoadBalancer, load_balancer: LoadBalancer) -> Iterator[Step]:
    """Deletes before it creates, because a port may change its protocol.

    Raises Conflict when another Service uses a port.
    """
    desired_by_key = {_key(listener): listener for listener in desired.load_balancer.listeners}
    owned = {
        _key(listener): listener
        for listener in load_balancer.listeners
        if is_listener_of(listener, load_balancer, desired.service_ref)
    }
    for listener in load_balancer.listeners:
        if listener.id not in {own.id for own in owned.values()}:
            _check_no_conflict(listener, desired)
    for key, listener in owned.items():
        if key not in desired_by_key:
            yield DeleteListener(load_balancer.id, listener.id, listener.pool.id if listener.pool else "")
    for key, listener in desired_by_key.items():
        if key in owned:
            yield from _update_listener(load_balancer.id, listener, owned[key])
        else:
            yield CreateListener(load_balancer.id, listener)


def _key(listener: Listener) -> tuple[str, int]:
    return listener.protocol, listener.port


def _check_no_conflict(other: Listener, desired: DesiredLoadBalancer) -> None:
    """Octavia allows one listener for each TCP port, whether its protocol is TCP or HTTP."""
    for listener in desired.load_balancer.listeners:
        if listener.port == other.port and _transport(listener) == _transport(other):
            raise Conflict(
                f"port {other.port} of the load balancer is in use by {', '.join(other.tags) or other.name}",
                "choose another port, or another load balancer",
            )


def _transport(listener: Listener) -> str:
    return listener.protocol if listener.protocol in ("UDP", "SCTP") else "TCP"


def _update_listener(load_balancer: str, desired: Listener, current: Listener) -> Iterator[Step]:
    if not _matches(desired, current):
        yield UpdateListener(load_balancer, current.id, desired)
    if desired.pool is None:
        return
    if current.pool is None:
        yield CreatePool(load_balancer, current.id, desired.pool)
    elif current.pool.protocol != desired.pool.protocol:
        yield DeletePool(load_balancer, current.pool.id)
        yield CreatePool(load_balancer, current.id, desired.pool)
    else:
        yield from _update_pool(load_balancer, desired.pool, current.pool)


def _matches(desired: Listener, current: Listener) -> bool:
    """Ignores names, and timeouts that the Service does not set, for which Octavia has defaults."""
    timeouts = zip(vars(desired.timeouts).values(), vars(current.timeouts).values(), strict=True)
    return (
        set(desired.tags) <= set(current.tags)
        and set(desired.allowed_cidrs) == set(current.allowed_cidrs)
        and desired.connections == current.connections
        and desired.forwarded_for == current.forwarded_for
        and all(value in (None, actual) for value, actual in timeouts)
    )


def _update_pool(load_balancer: str, desired: Pool, current: Pool) -> Iterator[Step]:
    if (desired.algorithm, desired.session_persistence) != (current.algorithm, current.session_persistence):
        yield UpdatePool(load_balancer, current.id, desired)
    if _endpoints(desired.members) != _endpoints(current.members):
        yield SetMembers(load_balancer, current.id, desired.members)
    yield from _update_monitor(load_balancer, current.id, desired.monitor, current.monitor)


def _endpoints(members: tuple[Member, ...]) -> set[tuple[str, int, int | None]]:
    return {(member.address, member.port, member.monitor_port) for member in members}


def _update_monitor(
    load_balancer: str, pool: str, desired: HealthMonitor | None, current: HealthMonitor | None
) -> Iterator[Step]:
    if desired and current and desired.type == current.type:
        if _monitor_settings(desired) != _monitor_settings(current):
            yield UpdateHealthMonitor(load_balancer, current.id, desired)
        return
    if current:
        yield DeleteHealthMonitor(load_balancer, current.id)
    if desired:
        yield CreateHealthMonitor(load_balancer, pool, desired)


def _monitor_settings(monitor: HealthMonitor) -> tuple[object, ...]:
    return monitor.delay, monitor.timeout, monitor.max_retries, monitor.max_retries_down, monitor.path
