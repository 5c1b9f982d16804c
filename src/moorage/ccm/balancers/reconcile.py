"""The reconciler of Services of type LoadBalancer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from moorage.ccm.balancers.annotations import BALANCER_ID, KEEP, Reading, read
from moorage.ccm.balancers.carry import Busy, Hands
from moorage.ccm.balancers.desired import Desired, choose_subnet
from moorage.ccm.balancers.look import Eyes, Pending, Turn
from moorage.ccm.balancers.names import Whose
from moorage.ccm.balancers.plan import Observed, plan, plan_removal, unmet
from moorage.ccm.balancers.reached import Reached, Wanted
from moorage.ccm.balancers.settings import Settings
from moorage.ccm.balancers.steps import CreateBalancer, MakeFloating, RemoveBalancer, Step
from moorage.ccm.balancers.targets import Stored, Targets
from moorage.ccm.balancers.views import FINALIZER, Service, service_of, serving_nodes
from moorage.cloud.balancers import ACTIVE, Balancer, Balancers
from moorage.cloud.fronts import FloatingIP, Fronts
from moorage.kube.events import Recorder
from moorage.kube.objects import ENDPOINT_SLICES, SERVICES, Object, Objects, Resource, key_of
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, Failed, MoorageError, NotFound, QuotaExceeded

SERVICE_LABEL = "kubernetes.io/service-name"  # of an EndpointSlice: whose endpoints it has
BY_SERVICE = "service"  # the index of EndpointSlices that `slices.by` is asked for
ROUNDS = 8  # looks at the cloud in one turn: creation takes three
SOON, RETRY, LATER = 0.5, 10.0, 60.0  # seconds
PATIENT = 12  # turns in which a load balancer may stay PENDING before that is said: about a minute

ENOUGH = 20  # turns in a row that come to nothing: by then it is asked as seldom as it will be

AGAIN = 2.0  # seconds until the first trouble is tried again; twice as many after each that follows
# What an Event calls an error, and how many seconds it waits at most.
TROUBLES: dict[type[MoorageError], tuple[str, float]] = {
    BadInput: ("Refused", LATER),
    QuotaExceeded: ("QuotaExceeded", RETRY * 3),
    Conflict: ("InUse", RETRY * 3),
    NotFound: ("NotFound", RETRY * 3),
    Failed: ("Failed", LATER),
    CloudUnreachable: ("CloudAway", RETRY),
}


def index_slice(found: Object) -> tuple[str, ...]:
    """For the cache's index BY_SERVICE: `namespace/service` of an EndpointSlice."""
    name = (found["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return (f"{found['metadata']['namespace']}/{name}",) if name else ()


class Locks:
    """One lock a load balancer: Services that share it are brought one after the other."""

    def __init__(self) -> None:
        self._guard, self._locks = Lock(), dict[str, Lock]()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            yield


@dataclass
class BalancerReconciler:
    """Gives a Service what it wants in the cloud; the key is `namespace/name`.

    What was reached is remembered, so that nothing is asked of the cloud while the Service, its nodes and its
    endpoints want the same; `forget` has it looked at again. When only the nodes differ, its pools get other members
    and the rest is not looked at.
    """

    api: Objects
    services: Stored
    targets: Targets
    slices: Stored
    balancers: Balancers
    fronts: Fronts
    settings: Settings
    events: Recorder
    hands: Hands
    name: str = "load-balancers"
    watches: tuple[Resource, ...] = (SERVICES, ENDPOINT_SLICES)
    workers: int = 4  # most of their time they wait for the cloud
    _reached: dict[str, Reached] = field(default_factory=dict)
    _waits: dict[str, int] = field(default_factory=dict)
    _locks: Locks = field(default_factory=Locks)

    def __post_init__(self) -> None:
        self._pending = Pending(self.balancers)

    def keys_for(self, resource: Resource, found: Object) -> Iterable[str]:
        return index_slice(found) if resource == ENDPOINT_SLICES else (key_of(found),)

    def concerned(self) -> list[str]:
        """Keys of all Services with a load balancer: a node concerns them."""
        return [key_of(service) for service in self.services.all() if self._ours(service_of(service))]

    def forget(self, key: str) -> None:
        """Look at the cloud again when the key comes next."""
        self._reached.pop(key, None)
        self._pending.forget(key)

    def reached(self) -> list[str]:
        """Keys of the Services that had all they want at the last look, and a load balancer made for this cluster."""
        return [key for key, reached in list(self._reached.items()) if not reached.outline.existing]

    def reconcile(self, key: str) -> float | None:
        """Errors of the cloud and of who wrote the Service become Events; those of the Kubernetes API are raised."""
        found = self.services.get(key)
        if found is None:
            self.forget(key)
            self._waits.pop(key, None)
            return None
        service = service_of(found)
        if not self._ours(service):
            return None
        try:
            again = self._bring(key, found, service) if service.wanted else self._take_away(key, found, service)
        except Busy as busy:
            return self._wait(key, found, str(busy))
        except _Stale:
            return SOON
        except tuple(TROUBLES) as error:
            return self._trouble(key, found, error)
        self._waits.pop(key, None)
        return again

    def _wait(self, key: str, found: Object, why: str) -> float:
        """Come back soon, and later and later; say so when it takes long."""
        waits = self._waited(key)
        if waits + 1 >= PATIENT:
            self.events.say(found, "StillBusy", f"{why}, for a while now: ask the cloud's operator if that goes on")
        return float(min(SOON * 1.5**waits, RETRY))

    def _trouble(self, key: str, found: Object, error: MoorageError) -> float:
        """Say what a person must know about the Service, and try again, later and later: it may have been passing."""
        reason, latest = TROUBLES[type(error)]
        hint = f": {error.hint}" if error.hint else ""
        self.events.say(found, reason, f"{error.message}{hint}")
        return float(min(AGAIN * 2 ** self._waited(key), latest))

    def _waited(self, key: str) -> int:
        """How many turns in a row have come to nothing before this one, as far as that matters."""
        before = self._waits.get(key, 0)
        self._waits[key] = min(before + 1, ENOUGH)
        return before

    def _ours(self, service: Service) -> bool:
        named = service.balancer_class in ("", self.settings.own_class)
        return named and (service.wanted or service.held)

    def _bring(self, key: str, found: Object, service: Service) -> float | None:
        reading = read(service.annotations, self.settings.provider)
        wanted = self._wanted(key, service, reading)
        reached = self._reached.get(key)
        if reached and (reached.outline, reached.shown) == (wanted.outline, _shown(found)):
            return self._follow(key, reached, wanted)
        for sentence in reading.refused:
            self.events.say(found, "AnnotationRefused", sentence)
        found = self._hold(key, found, service)
        return self._reach(key, found, wanted)

    def _wanted(self, key: str, service: Service, reading: Reading) -> Wanted:
        """Subnets of the floating network are asked for only where a Service names one other than by its id."""
        wishes = reading.wishes
        named = not wishes.internal and (wishes.floating_subnet or wishes.floating_subnet_tags)
        network = wishes.floating_network or self.settings.floating_network
        choices = self.fronts.subnets(network) if named and not wishes.floating_subnet_id else []
        subnet = choose_subnet(choices, wishes)
        serving = serving_nodes(self.slices.by(BY_SERVICE, key)) if service.local else frozenset[str]()
        return Wanted.of(service, self.targets.all(), serving, wishes, self.settings, subnet)

    def _follow(self, key: str, reached: Reached, wanted: Wanted) -> float | None:
        """Nothing but nodes may have changed. Whatever is not as we left it is looked at whole in the next turn."""
        if reached.settled and reached.has(wanted.nodes):
            return None
        with self._locks.hold(reached.balancer):
            if not reached.has(wanted.nodes):
                return self._swap(key, reached, wanted)
            status = self.balancers.status(reached.balancer)
        if status.startswith("PENDING"):
            raise Busy(f"the load balancer {reached.balancer} is {status}")
        if status != ACTIVE:
            self.forget(key)
            return SOON
        self._reached[key] = replace(reached, settled=True)
        return None

    def _swap(self, key: str, reached: Reached, wanted: Wanted) -> float:
        self.forget(key)
        try:
            self.hands.swap_members(reached.balancer, zip(reached.pools, wanted.members(), strict=True))
        except (Conflict, NotFound) as error:
            raise Busy(error.message) from error
        self._reached[key] = replace(reached, nodes=wanted.nodes, settled=False)
        return SOON

    def _hold(self, key: str, found: Object, service: Service) -> Object:
        """The finalizer comes before anything in the cloud does."""
        if service.held:
            return found
        finalizers = [*(found["metadata"].get("finalizers") or ()), FINALIZER]
        return self._patch(key, found, {"metadata": {"finalizers": finalizers}})

    def _reach(self, key: str, found: Object, wanted: Wanted) -> float | None:
        """Look, plan and act until there is nothing left to do, then show the address."""
        again = self._pending.still(key)
        if again:
            return again
        desired = wanted.whole()
        eyes = Eyes(self.balancers, self.fronts, self.settings.group)
        turn = Turn(eyes, desired.whose, desired.existing, desired.front.address if desired.front else "")
        for _ in range(ROUNDS):
            there = turn.find()
            with self._locks.hold(there.balancer or desired.whose.tag):
                observed = turn.look()
                steps = plan(desired, observed)
                if not steps and not there.strays:
                    return self._end(key, found, wanted, observed)
                self._tell(key, found, desired, steps)
                self._act(steps)
            turn.acted(steps)
            self._leave(eyes, desired.whose, there.strays)
        return SOON

    def _end(self, key: str, found: Object, wanted: Wanted, observed: Observed) -> float | None:
        """There is nothing left to do; but the load balancer may not be ready yet."""
        balancer = observed.balancer
        if balancer is None:
            return SOON
        if balancer.provisioning != ACTIVE:
            return self._pending.note(key, balancer.id)
        found = self._show(key, found, wanted.outline, balancer, observed.mapped)
        self._reached[key] = wanted.reached(balancer, _shown(found))
        return None

    def _leave(self, eyes: Eyes, whose: Whose, strays: Iterable[str]) -> None:
        """Take the Service off load balancers that it has no business with any more; its floating IP stays."""
        for id in strays:
            with self._locks.hold(id):
                observed = replace(eyes.look(whose, id), ours=(), mapped=None, rules=())
                self._act(plan_removal(whose, observed, keep=True))

    def _tell(self, key: str, found: Object, desired: Desired, steps: list[Step]) -> None:
        """Before a load balancer is recreated, say so, and drop its id where the Service has it."""
        for step in steps:
            if isinstance(step, RemoveBalancer):
                message = f"the load balancer {step.balancer} is in ERROR: it is deleted and recreated"
                self.events.say(found, "MadeAnew", message)
                if desired.existing == step.balancer:
                    self._patch(key, found, {"metadata": {"annotations": {BALANCER_ID: None}}})
                    raise _Stale

    def _act(self, steps: list[Step]) -> None:
        """A Conflict with what is there means that it is PENDING, or that somebody was faster: look again."""
        for step in steps:
            try:
                self.hands.carry_out([step])
            except (Conflict, NotFound) as error:
                if isinstance(step, CreateBalancer | MakeFloating):
                    raise
                raise Busy(error.message) from error

    def _show(self, key: str, found: Object, desired: Desired, balancer: Balancer, mapped: FloatingIP | None) -> Object:
        """The Service, with its address."""
        for sentence in unmet(desired, balancer, self.settings.subnet):
            self.events.say(found, "OnlyWhenMade", sentence)
        address = balancer.address if desired.front is None or mapped is None else mapped.address
        ports = [
            {"port": listener.port, "protocol": _wire(listener.protocol)} for listener in desired.balancer.listeners
        ]
        entry: dict[str, Any] = {"hostname": desired.hostname} if desired.hostname else {"ip": address}
        if not desired.hostname:
            entry["ipMode"] = "Proxy" if desired.proxied else "VIP"
        ingress = [entry | {"ports": ports}]
        if _ingress(found) != ingress:
            found = self._patch(key, found, {"status": {"loadBalancer": {"ingress": ingress}}}, status=True)
            self.events.say(found, "Balanced", f"the load balancer {balancer.id} answers at {address}", "Normal")
        return found

    def _take_away(self, key: str, found: Object, service: Service) -> float | None:
        """Until nothing of the Service is left in the cloud; the finalizer goes last."""
        self.forget(key)
        whose = Whose(self.settings.cluster, service.namespace, service.name)
        keep = service.annotations.get(KEEP, "").strip().lower() == "true"
        eyes = Eyes(self.balancers, self.fronts, self.settings.group)
        for _ in range(ROUNDS):
            there = eyes.find(whose, "")
            with self._locks.hold(there.balancer or whose.tag):
                steps = plan_removal(whose, eyes.look(whose, there.balancer), keep)
                if not steps:
                    self._release(key, found)
                    return None
                self._act(steps)
        return SOON

    def _release(self, key: str, found: Object) -> None:
        if _ingress(found):
            found = self._patch(key, found, {"status": {"loadBalancer": {"ingress": None}}}, status=True)
        left = [name for name in found["metadata"].get("finalizers") or () if name != FINALIZER]
        self._patch(key, found, {"metadata": {"finalizers": left}})

    def _patch(self, key: str, found: Object, change: Object, *, status: bool = False) -> Object:
        """Refused when the Service is not as we saw it: lists are replaced whole."""
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        guarded = {**change, "metadata": {**change.get("metadata", {}), **version}}
        try:
            return self.api.patch(SERVICES, key, guarded, status=status)
        except (Conflict, NotFound) as error:
            raise _Stale from error


class _Stale(Exception):
    """The Service changed or went meanwhile: the watch brings the news."""


def _ingress(found: Object) -> list[Any]:
    return (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or []


def _shown(found: Object) -> str:
    return repr(_ingress(found))


def _wire(protocol: str) -> str:
    return protocol if protocol in ("UDP", "SCTP") else "TCP"
