"""Load balancers in memory, with Octavia's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from threading import RLock

from moorage.cloud.port.load_balancers import ACTIVE, HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded

OVN_PROTOCOLS = ("TCP", "UDP", "SCTP")
OVN_ALGORITHMS = ("SOURCE_IP_PORT", "SOURCE_IP")
OVN_MONITORS = ("TCP", "UDP-CONNECT")


@dataclass
class MemoryLoadBalancers:
    """The port `LoadBalancers`. After a change a load balancer is PENDING until it was read `pending_polls` times.

    Faults: `unreachable` is why Octavia does not answer; `quota` is the maximum number of load balancers;
    `used_addresses` are in use elsewhere; `failing` names load balancers that end in ERROR. `calls` are the calls so
    far. `on_delete` is called with the port of a deleted load balancer. `orphaned` are pools that outlived their
    listener.
    """

    pending_polls: int = 0
    quota: int = 100
    provider_names: tuple[str, ...] = ("ovn",)
    unreachable: str = ""
    used_addresses: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    by_id: dict[str, LoadBalancer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    orphaned: list[Pool] = field(default_factory=list)
    on_delete: Callable[[str], None] = lambda port: None
    _remaining_polls: dict[str, int] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))
    _lock: RLock = field(default_factory=RLock)

    def providers(self) -> list[str]:
        self._record_call("providers")
        return list(self.provider_names)

    def named(self, name: str) -> list[LoadBalancer]:
        self._record_call("named")
        return [
            replace(load_balancer, listeners=()) for load_balancer in self._read_all() if load_balancer.name == name
        ]

    def tagged(self, tag: str) -> list[LoadBalancer]:
        self._record_call("tagged")
        return [replace(load_balancer, listeners=()) for load_balancer in self._read_all() if tag in load_balancer.tags]

    def get(self, id: str) -> LoadBalancer | None:
        self._record_call("get")
        self._advance(id)
        return self.by_id.get(id)

    def status(self, id: str) -> str:
        self._record_call("status")
        self._advance(id)
        return self.by_id[id].provisioning_status if id in self.by_id else ""

    def create(self, desired: LoadBalancer) -> LoadBalancer:
        self._record_call("create")
        with self._lock:
            if len(self.by_id) >= self.quota:
                raise QuotaExceeded("Octavia refused: Quota has been met for resources: Load Balancer")
            address = desired.address or self._free_address()
            if address in self.used_addresses | {load_balancer.address for load_balancer in self.by_id.values()}:
                raise Conflict(f"IP address {address} already allocated in subnet {desired.subnet}")
            id = self._new_id("lb")
            created = replace(desired, id=id, address=address, port=desired.port or f"port-{id}", listeners=())
            if desired.port in {load_balancer.port for load_balancer in self.by_id.values()}:
                raise Conflict(f"The VIP port {desired.port} is already in use")
            _check_unique((listener.protocol, listener.port) for listener in desired.listeners)
            for listener in desired.listeners:
                _check_listener(created.provider, listener)
            listeners = tuple(self._with_ids(listener) for listener in desired.listeners)
            self.by_id[id] = replace(created, listeners=listeners)
            self._set_pending(id)
            return replace(self.by_id[id], listeners=())

    def set_tags(self, id: str, tags: Iterable[str]) -> None:
        self._record_call("set_tags")
        self._replace(replace(self._get_mutable(id), tags=tuple(tags)))

    def delete(self, id: str) -> None:
        self._record_call("delete")
        with self._lock:
            if id not in self.by_id:
                return
            if self.by_id[id].pending:
                raise Conflict(f"Invalid state {self.by_id[id].provisioning_status} of loadbalancer resource {id}")
            self.by_id[id] = replace(self.by_id[id], provisioning_status="PENDING_DELETE")
            self._remaining_polls[id] = self.pending_polls
            self._advance(id, read=False)

    def create_listener(self, load_balancer: str, desired: Listener) -> str:
        self._record_call("create_listener")
        owner = self._get_mutable(load_balancer)
        _check_unique(
            [(desired.protocol, desired.port), *((listener.protocol, listener.port) for listener in owner.listeners)]
        )
        _check_listener(owner.provider, replace(desired, pool=None))
        created = replace(desired, pool=None, id=self._new_id("listener"))
        self._replace(replace(owner, listeners=(*owner.listeners, created)))
        return created.id

    def update_listener(self, id: str, desired: Listener) -> None:
        self._record_call("update_listener")
        owner, old = self._get_listener(id)
        _check_listener(owner.provider, replace(desired, pool=None))
        self._replace_listener(owner, replace(desired, id=id, protocol=old.protocol, port=old.port, pool=old.pool))

    def delete_listener(self, id: str) -> None:
        self._record_call("delete_listener")
        owner = self._find(lambda listener: listener.id == id)
        if owner is not None:
            self._get_mutable(owner.id)
            self.orphaned += [listener.pool for listener in owner.listeners if listener.id == id and listener.pool]
            self._replace(
                replace(owner, listeners=tuple(listener for listener in owner.listeners if listener.id != id))
            )

    def create_pool(self, listener: str, desired: Pool) -> str:
        self._record_call("create_pool")
        owner, parent = self._get_listener(listener)
        if parent.pool is not None:
            raise Conflict("This listener already has a default pool")
        _check_pool(owner.provider, parent, desired)
        created = replace(desired, members=(), monitor=None, id=self._new_id("pool"))
        self._replace_listener(owner, replace(parent, pool=created))
        return created.id

    def update_pool(self, id: str, desired: Pool) -> None:
        self._record_call("update_pool")
        owner, listener, pool = self._get_pool(id)
        new = replace(pool, algorithm=desired.algorithm, session_persistence=desired.session_persistence)
        _check_pool(owner.provider, listener, new)
        self._replace_listener(owner, replace(listener, pool=new))

    def delete_pool(self, id: str) -> None:
        self._record_call("delete_pool")
        owner = self._find(lambda listener: bool(listener.pool and listener.pool.id == id))
        if owner is not None:
            _, listener, _ = self._get_pool(id)
            self._replace_listener(owner, replace(listener, pool=None))

    def set_members(self, pool: str, members: Iterable[Member]) -> None:
        self._record_call("set_members")
        owner, listener, old = self._get_pool(pool)
        new = replace(old, members=tuple(members))
        _check_pool(owner.provider, listener, new)
        if new.members or old.members:
            self._replace_listener(owner, replace(listener, pool=new))

    def create_health_monitor(self, pool: str, desired: HealthMonitor) -> None:
        self._record_call("create_health_monitor")
        owner, listener, old = self._get_pool(pool)
        if old.monitor is not None:
            raise Conflict("This pool already has a health monitor")
        new = replace(old, monitor=replace(desired, id=self._new_id("monitor")))
        _check_pool(owner.provider, listener, new)
        self._replace_listener(owner, replace(listener, pool=new))

    def update_health_monitor(self, id: str, desired: HealthMonitor) -> None:
        self._record_call("update_health_monitor")
        owner, listener, pool = self._get_monitored(id)
        old = pool.monitor or desired
        self._replace_listener(
            owner, replace(listener, pool=replace(pool, monitor=replace(desired, id=id, type=old.type)))
        )

    def delete_health_monitor(self, id: str) -> None:
        self._record_call("delete_health_monitor")
        if self._find(lambda listener: _monitor_id(listener) == id) is not None:
            owner, listener, pool = self._get_monitored(id)
            self._replace_listener(owner, replace(listener, pool=replace(pool, monitor=None)))

    def set_status(self, id: str, provisioning_status: str) -> None:
        """Set a provisioning status, as an operator or a fault does."""
        self._remaining_polls.pop(id, None)
        self.by_id[id] = replace(self.by_id[id], provisioning_status=provisioning_status)

    def _record_call(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable)

    def _read_all(self) -> list[LoadBalancer]:
        for id in list(self.by_id):
            self._advance(id)
        return list(self.by_id.values())

    def _advance(self, id: str, read: bool = True) -> None:
        """Every read advances time."""
        with self._lock:
            if id not in self._remaining_polls:
                return
            self._remaining_polls[id] -= 1 if read else 0
            if self._remaining_polls[id] > 0:
                return
            del self._remaining_polls[id]
            load_balancer = self.by_id[id]
            if load_balancer.provisioning_status == "PENDING_DELETE":
                del self.by_id[id]
                self.on_delete(load_balancer.port)
            else:
                self.by_id[id] = replace(
                    load_balancer, provisioning_status="ERROR" if load_balancer.name in self.failing else ACTIVE
                )

    def _set_pending(self, id: str) -> None:
        self._remaining_polls[id] = self.pending_polls
        state = "PENDING_UPDATE" if self.by_id[id].provisioning_status else "PENDING_CREATE"
        self.by_id[id] = replace(self.by_id[id], provisioning_status=state)
        self._advance(id, read=False)

    def _replace(self, new: LoadBalancer) -> None:
        self.by_id[new.id] = new
        self._set_pending(new.id)

    def _replace_listener(self, owner: LoadBalancer, new: Listener) -> None:
        self._get_mutable(owner.id)
        self._replace(
            replace(owner, listeners=tuple(new if listener.id == new.id else listener for listener in owner.listeners))
        )

    def _get_mutable(self, id: str) -> LoadBalancer:
        load_balancer = self.by_id.get(id)
        if load_balancer is None:
            raise NotFound(f"Octavia has no load balancer {id}")
        if load_balancer.provisioning_status != ACTIVE:
            raise Conflict(f"Invalid state {load_balancer.provisioning_status} of loadbalancer resource {id}")
        return load_balancer

    def _find(self, matches: Callable[[Listener], bool]) -> LoadBalancer | None:
        return next(
            (
                load_balancer
                for load_balancer in self.by_id.values()
                if any(matches(listener) for listener in load_balancer.listeners)
            ),
            None,
        )

    def _get_listener(self, id: str) -> tuple[LoadBalancer, Listener]:
        return self._get_listener_where(lambda listener: listener.id == id, f"listener {id}")

    def _get_pool(self, id: str) -> tuple[LoadBalancer, Listener, Pool]:
        owner, listener = self._get_listener_where(
            lambda listener: bool(listener.pool and listener.pool.id == id), f"pool {id}"
        )
        assert listener.pool is not None
        return owner, listener, listener.pool

    def _get_monitored(self, id: str) -> tuple[LoadBalancer, Listener, Pool]:
        owner, listener = self._get_listener_where(lambda listener: _monitor_id(listener) == id, f"health monitor {id}")
        assert listener.pool is not None
        return owner, listener, listener.pool

    def _get_listener_where(
        self, matches: Callable[[Listener], bool], description: str
    ) -> tuple[LoadBalancer, Listener]:
        owner = self._find(matches)
        if owner is None:
            raise NotFound(f"Octavia has no {description}")
        return owner, next(listener for listener in owner.listeners if matches(listener))

    def _with_ids(self, desired: Listener) -> Listener:
        pool = desired.pool
        if pool is not None:
            monitor = replace(pool.monitor, id=self._new_id("monitor")) if pool.monitor else None
            pool = replace(pool, id=self._new_id("pool"), monitor=monitor)
        return replace(desired, id=self._new_id("listener"), pool=pool)

    def _new_id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids)}"

    def _free_address(self) -> str:
        used = self.used_addresses | {load_balancer.address for load_balancer in self.by_id.values()}
        return next(text for n in range(100, 60000) if (text := f"10.0.{n // 250}.{n % 250}") not in used)


def _monitor_id(listener: Listener) -> str:
    return listener.pool.monitor.id if listener.pool and listener.pool.monitor else ""


def _check_unique(ports: Iterable[tuple[str, int]]) -> None:
    """Octavia distinguishes UDP from TCP only; all other protocols conflict on one port."""
    keys = [("UDP" if name == "UDP" else "SCTP" if name == "SCTP" else "TCP", port) for name, port in ports]
    if len(set(keys)) != len(keys):
        raise Conflict("Another Listener on this Load Balancer is already using this protocol and port")


def _check_listener(provider: str, listener: Listener) -> None:
    if provider == "ovn":
        if listener.protocol not in OVN_PROTOCOLS:
            raise _unsupported(f"OVN provider does not support {listener.protocol} protocol")
        if listener.allowed_cidrs:
            raise _unsupported("OVN provider does not support allowed_cidrs option")
    if listener.pool is not None:
        _check_pool(provider, listener, listener.pool)


def _check_pool(provider: str, listener: Listener, pool: Pool) -> None:
    allowed = {"HTTP": ("HTTP", "PROXY", "PROXYV2"), "TCP": ("TCP", "HTTP", "PROXY", "PROXYV2")}
    if pool.protocol not in allowed.get(listener.protocol, (listener.protocol,)):
        raise BadInput(f"Octavia refused: a {listener.protocol} listener cannot have a {pool.protocol} pool")
    keys = [(member.address, member.port) for member in pool.members]
    if len(set(keys)) != len(keys):
        raise BadInput("Octavia refused: Member must be updated only once in the same request.")
    if provider == "ovn":
        _check_ovn_pool(pool)


def _check_ovn_pool(pool: Pool) -> None:
    if pool.algorithm not in OVN_ALGORITHMS:
        raise _unsupported(f"OVN provider does not support {pool.algorithm} algorithm")
    if pool.monitor and pool.monitor.type not in OVN_MONITORS:
        raise _unsupported(f"OVN provider does not support {pool.monitor.type} health monitor type")
    if any(member.monitor_port for member in pool.members):
        raise _unsupported("OVN provider does not support monitor options")


def _unsupported(reason: str) -> BadInput:
    return BadInput(f"Octavia refused: Provider 'ovn' does not support a requested option: {reason}")
