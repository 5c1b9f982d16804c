"""Plan the steps for a Service's listeners and pools on its load balancer. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from moorage.ccm.load_balancers.desired import DesiredLoadBalancer
from moorage.ccm.load_balancers.names import is_listener_of
from moorage.ccm.load_balancers.steps import (
    CreateHealthMonitor,
    CreateListener,
    CreatePool,
    DeleteHealthMonitor,
    DeleteListener,
    DeletePool,
    SetMembers,
    Step,
    UpdateHealthMonitor,
    UpdateListener,
    UpdatePool,
)
from moorage.cloud.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.model.errors import Conflict


def plan_listeners(desired: DesiredLoadBalancer, found: LoadBalancer) -> Iterator[Step]:
    """Deletions come first, because a new listener may use the same port. Conflict when another Service has a port."""
    wanted = {(listener.protocol, listener.port): listener for listener in desired.load_balancer.listeners}
    ours = {_key(held): held for held in found.listeners if is_listener_of(held, found, desired.service_ref)}
    for held in found.listeners:
        if held.id not in {listener.id for listener in ours.values()}:
            _check_free(held, desired)
    for key, held in ours.items():
        if key not in wanted:
            yield DeleteListener(found.id, held.id, held.pool.id if held.pool else "")
    for key, listener in wanted.items():
        if key in ours:
            yield from _between(found.id, listener, ours[key])
        else:
            yield CreateListener(found.id, listener)


def _key(listener: Listener) -> tuple[str, int]:
    return listener.protocol, listener.port


def _check_free(held: Listener, desired: DesiredLoadBalancer) -> None:
    """The transport protocol: HTTP and TCP listeners conflict on one port."""
    for listener in desired.load_balancer.listeners:
        if listener.port == held.port and _wire(listener) == _wire(held):
            raise Conflict(
                f"port {held.port} of the load balancer is in use by {', '.join(held.tags) or held.name}",
                "choose another port, or another load balancer",
            )


def _wire(listener: Listener) -> str:
    return listener.protocol if listener.protocol in ("UDP", "SCTP") else "TCP"


def _between(load_balancer: str, wanted: Listener, held: Listener) -> Iterator[Step]:
    if not _fits(wanted, held):
        yield UpdateListener(load_balancer, held.id, wanted)
    if wanted.pool is None:
        return
    if held.pool is None:
        yield CreatePool(load_balancer, held.id, wanted.pool)
    elif held.pool.protocol != wanted.pool.protocol:
        yield DeletePool(load_balancer, held.pool.id)
        yield CreatePool(load_balancer, held.id, wanted.pool)
    else:
        yield from _pool(load_balancer, wanted.pool, held.pool)


def _fits(wanted: Listener, held: Listener) -> bool:
    """Names are not compared; a timeout that is not requested is Octavia's default."""
    times = zip(vars(wanted.timeouts).values(), vars(held.timeouts).values(), strict=True)
    return (
        set(wanted.tags) <= set(held.tags)
        and set(wanted.allowed_cidrs) == set(held.allowed_cidrs)
        and wanted.connections == held.connections
        and wanted.forwarded_for == held.forwarded_for
        and all(ours in (None, theirs) for ours, theirs in times)
    )


def _pool(load_balancer: str, wanted: Pool, held: Pool) -> Iterator[Step]:
    if (wanted.algorithm, wanted.session_persistence) != (held.algorithm, held.session_persistence):
        yield UpdatePool(load_balancer, held.id, wanted)
    if _traffic(wanted.members) != _traffic(held.members):
        yield SetMembers(load_balancer, held.id, wanted.members)
    yield from _monitor(load_balancer, held.id, wanted.monitor, held.monitor)


def _traffic(members: tuple[Member, ...]) -> set[tuple[str, int, int | None]]:
    return {(member.address, member.port, member.monitor_port) for member in members}


def _monitor(load_balancer: str, pool: str, wanted: HealthMonitor | None, held: HealthMonitor | None) -> Iterator[Step]:
    if wanted and held and wanted.type == held.type:
        if _times(wanted) != _times(held):
            yield UpdateHealthMonitor(load_balancer, held.id, wanted)
        return
    if held:
        yield DeleteHealthMonitor(load_balancer, held.id)
    if wanted:
        yield CreateHealthMonitor(load_balancer, pool, wanted)


def _times(monitor: HealthMonitor) -> tuple[object, ...]:
    return monitor.delay, monitor.timeout, monitor.max_retries, monitor.max_retries_down, monitor.path
