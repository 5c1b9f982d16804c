"""Load balancers in memory, with Octavia's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from threading import RLock

from moorage.cloud.load_balancers import ACTIVE, HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded

OVN_PROTOCOLS = ("TCP", "UDP", "SCTP")
OVN_ALGORITHMS = ("SOURCE_IP_PORT", "SOURCE_IP")
OVN_MONITORS = ("TCP", "UDP-CONNECT")


@dataclass
class MemoryLoadBalancers:
    """The port `LoadBalancers`. After a change a load balancer is PENDING until it was read `settle` times.

    Faults: `unreachable` is why Octavia does not answer; `quota` is the maximum number of load balancers; `taken` are
    addresses that are in use elsewhere; `failing` names load balancers that end in ERROR. `asked` are the calls so far.
    `gone` is called with the port of a deleted load balancer. `orphaned` are pools that outlived their listener.
    """

    settle: int = 0
    quota: int = 100
    offered: tuple[str, ...] = ("ovn",)
    unreachable: str = ""
    taken: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    held: dict[str, LoadBalancer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    orphaned: list[Pool] = field(default_factory=list)
    gone: Callable[[str], None] = lambda port: None
    _remaining_polls: dict[str, int] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))
    _lock: RLock = field(default_factory=RLock)

    def providers(self) -> list[str]:
        self._answer("providers")
        return list(self.offered)

    def named(self, name: str) -> list[LoadBalancer]:
        self._answer("named")
        return [replace(found, listeners=()) for found in self._all() if found.name == name]

    def tagged(self, tag: str) -> list[LoadBalancer]:
        self._answer("tagged")
        return [replace(found, listeners=()) for found in self._all() if tag in found.tags]

    def get(self, id: str) -> LoadBalancer | None:
        self._answer("tree")
        self._age(id)
        return self.held.get(id)

    def status(self, id: str) -> str:
        self._answer("status")
        self._age(id)
        return self.held[id].provisioning_status if id in self.held else ""

    def create(self, wanted: LoadBalancer) -> LoadBalancer:
        self._answer("create")
        with self._lock:
            if len(self.held) >= self.quota:
                raise QuotaExceeded("Octavia refused: Quota has been met for resources: Load Balancer")
            address = wanted.address or self._free_address()
            if address in self.taken | {found.address for found in self.held.values()}:
                raise Conflict(f"IP address {address} already allocated in subnet {wanted.subnet}")
            id = self._id("lb")
            made = replace(wanted, id=id, address=address, port=wanted.port or f"port-{id}", listeners=())
            if wanted.port in {found.port for found in self.held.values()}:
                raise Conflict(f"The VIP port {wanted.port} is already in use")
            _unique((listener.protocol, listener.port) for listener in wanted.listeners)
            for listener in wanted.listeners:
                _check_listener(made.provider, listener)
            listeners = tuple(self._numbered(listener) for listener in wanted.listeners)
            self.held[id] = replace(made, listeners=listeners)
            self._touch(id)
            return replace(self.held[id], listeners=())

    def set_tags(self, id: str, tags: Iterable[str]) -> None:
        self._answer("set_tags")
        self._change(replace(self._mutable(id), tags=tuple(tags)))

    def delete(self, id: str) -> None:
        self._answer("delete")
        with self._lock:
            if id not in self.held:
                return
            if self.held[id].pending:
                raise Conflict(f"Invalid state {self.held[id].provisioning_status} of loadbalancer resource {id}")
            self.held[id] = replace(self.held[id], provisioning_status="PENDING_DELETE")
            self._remaining_polls[id] = self.settle
            self._age(id, read=False)

    def create_listener(self, load_balancer: str, wanted: Listener) -> str:
        self._answer("create_listener")
        owner = self._mutable(load_balancer)
        _unique([(wanted.protocol, wanted.port), *((held.protocol, held.port) for held in owner.listeners)])
        _check_listener(owner.provider, replace(wanted, pool=None))
        made = replace(wanted, pool=None, id=self._id("listener"))
        self._change(replace(owner, listeners=(*owner.listeners, made)))
        return made.id

    def update_listener(self, id: str, wanted: Listener) -> None:
        self._answer("update_listener")
        owner, old = self._listener(id)
        _check_listener(owner.provider, replace(wanted, pool=None))
        self._put(owner, replace(wanted, id=id, protocol=old.protocol, port=old.port, pool=old.pool))

    def delete_listener(self, id: str) -> None:
        self._answer("delete_listener")
        owner = self._find(lambda listener: listener.id == id)
        if owner is not None:
            self._mutable(owner.id)
            self.orphaned += [held.pool for held in owner.listeners if held.id == id and held.pool]
            self._change(replace(owner, listeners=tuple(held for held in owner.listeners if held.id != id)))

    def create_pool(self, listener: str, wanted: Pool) -> str:
        self._answer("create_pool")
        owner, front = self._listener(listener)
        if front.pool is not None:
            raise Conflict("This listener already has a default pool")
        _check_pool(owner.provider, front, wanted)
        made = replace(wanted, members=(), monitor=None, id=self._id("pool"))
        self._put(owner, replace(front, pool=made))
        return made.id

    def update_pool(self, id: str, wanted: Pool) -> None:
        self._answer("update_pool")
        owner, front, pool = self._pool(id)
        new = replace(pool, algorithm=wanted.algorithm, session_persistence=wanted.session_persistence)
        _check_pool(owner.provider, front, new)
        self._put(owner, replace(front, pool=new))

    def delete_pool(self, id: str) -> None:
        self._answer("delete_pool")
        owner = self._find(lambda listener: bool(listener.pool and listener.pool.id == id))
        if owner is not None:
            _, front, _ = self._pool(id)
            self._put(owner, replace(front, pool=None))

    def set_members(self, pool: str, members: Iterable[Member]) -> None:
        self._answer("set_members")
        owner, front, old = self._pool(pool)
        new = replace(old, members=tuple(members))
        _check_pool(owner.provider, front, new)
        if new.members or old.members:
            self._put(owner, replace(front, pool=new))

    def create_health_monitor(self, pool: str, wanted: HealthMonitor) -> None:
        self._answer("create_health_monitor")
        owner, front, old = self._pool(pool)
        if old.monitor is not None:
            raise Conflict("This pool already has a health monitor")
        new = replace(old, monitor=replace(wanted, id=self._id("monitor")))
        _check_pool(owner.provider, front, new)
        self._put(owner, replace(front, pool=new))

    def update_health_monitor(self, id: str, wanted: HealthMonitor) -> None:
        self._answer("update_health_monitor")
        owner, front, pool = self._monitored(id)
        old = pool.monitor or wanted
        self._put(owner, replace(front, pool=replace(pool, monitor=replace(wanted, id=id, type=old.type))))

    def delete_health_monitor(self, id: str) -> None:
        self._answer("delete_health_monitor")
        if self._find(lambda listener: _monitor_id(listener) == id) is not None:
            owner, front, pool = self._monitored(id)
            self._put(owner, replace(front, pool=replace(pool, monitor=None)))

    def set_status(self, id: str, provisioning_status: str) -> None:
        """Set a provisioning status, as an operator or a fault does."""
        self._remaining_polls.pop(id, None)
        self.held[id] = replace(self.held[id], provisioning_status=provisioning_status)

    def _answer(self, call: str) -> None:
        self.asked.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable)

    def _all(self) -> list[LoadBalancer]:
        for id in list(self.held):
            self._age(id)
        return list(self.held.values())

    def _age(self, id: str, read: bool = True) -> None:
        """Every read advances time."""
        with self._lock:
            if id not in self._remaining_polls:
                return
            self._remaining_polls[id] -= 1 if read else 0
            if self._remaining_polls[id] > 0:
                return
            del self._remaining_polls[id]
            found = self.held[id]
            if found.provisioning_status == "PENDING_DELETE":
                del self.held[id]
                self.gone(found.port)
            else:
                self.held[id] = replace(found, provisioning_status="ERROR" if found.name in self.failing else ACTIVE)

    def _touch(self, id: str) -> None:
        self._remaining_polls[id] = self.settle
        state = "PENDING_UPDATE" if self.held[id].provisioning_status else "PENDING_CREATE"
        self.held[id] = replace(self.held[id], provisioning_status=state)
        self._age(id, read=False)

    def _change(self, new: LoadBalancer) -> None:
        self.held[new.id] = new
        self._touch(new.id)

    def _put(self, owner: LoadBalancer, new: Listener) -> None:
        self._mutable(owner.id)
        self._change(replace(owner, listeners=tuple(new if held.id == new.id else held for held in owner.listeners)))

    def _mutable(self, id: str) -> LoadBalancer:
        found = self.held.get(id)
        if found is None:
            raise NotFound(f"Octavia knows no load balancer {id}")
        if found.provisioning_status != ACTIVE:
            raise Conflict(f"Invalid state {found.provisioning_status} of loadbalancer resource {id}")
        return found

    def _find(self, fits: Callable[[Listener], bool]) -> LoadBalancer | None:
        return next((found for found in self.held.values() if any(fits(held) for held in found.listeners)), None)

    def _listener(self, id: str) -> tuple[LoadBalancer, Listener]:
        return self._search(lambda listener: listener.id == id, f"listener {id}")

    def _pool(self, id: str) -> tuple[LoadBalancer, Listener, Pool]:
        owner, front = self._search(lambda listener: bool(listener.pool and listener.pool.id == id), f"pool {id}")
        assert front.pool is not None
        return owner, front, front.pool

    def _monitored(self, id: str) -> tuple[LoadBalancer, Listener, Pool]:
        owner, front = self._search(lambda listener: _monitor_id(listener) == id, f"health monitor {id}")
        assert front.pool is not None
        return owner, front, front.pool

    def _search(self, fits: Callable[[Listener], bool], what: str) -> tuple[LoadBalancer, Listener]:
        owner = self._find(fits)
        if owner is None:
            raise NotFound(f"Octavia knows no {what}")
        return owner, next(held for held in owner.listeners if fits(held))

    def _numbered(self, wanted: Listener) -> Listener:
        pool = wanted.pool
        if pool is not None:
            monitor = replace(pool.monitor, id=self._id("monitor")) if pool.monitor else None
            pool = replace(pool, id=self._id("pool"), monitor=monitor)
        return replace(wanted, id=self._id("listener"), pool=pool)

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids)}"

    def _free_address(self) -> str:
        used = self.taken | {found.address for found in self.held.values()}
        return next(text for n in range(100, 60000) if (text := f"10.0.{n // 250}.{n % 250}") not in used)


def _monitor_id(listener: Listener) -> str:
    return listener.pool.monitor.id if listener.pool and listener.pool.monitor else ""


def _unique(ports: Iterable[tuple[str, int]]) -> None:
    """Octavia distinguishes UDP from TCP only; all other protocols conflict on one port."""
    seen = [("UDP" if name == "UDP" else "SCTP" if name == "SCTP" else "TCP", port) for name, port in ports]
    if len(set(seen)) != len(seen):
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
    fits = {"HTTP": ("HTTP", "PROXY", "PROXYV2"), "TCP": ("TCP", "HTTP", "PROXY", "PROXYV2")}
    if pool.protocol not in fits.get(listener.protocol, (listener.protocol,)):
        raise BadInput(f"Octavia refused: a {listener.protocol} listener cannot have a {pool.protocol} pool")
    seen = [(member.address, member.port) for member in pool.members]
    if len(set(seen)) != len(seen):
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


def _unsupported(what: str) -> BadInput:
    return BadInput(f"Octavia refused: Provider 'ovn' does not support a requested option: {what}")
