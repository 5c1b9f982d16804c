"""Plans the steps for the listeners of one Service on its load balancer, and for their pools. Pure."""

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
from moorage.cloud.port.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.model.errors import Conflict


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
