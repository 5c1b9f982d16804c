"""The reconciler of Services of type LoadBalancer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from moorage.ccm.load_balancers.annotations import KEEP, LOAD_BALANCER_ID, Reading, read
from moorage.ccm.load_balancers.applied import AppliedState, DesiredState
from moorage.ccm.load_balancers.desired import DesiredLoadBalancer, choose_subnet
from moorage.ccm.load_balancers.execute import Executor, LoadBalancerPending
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.observe import ObservedState, Observer, PendingOperations
from moorage.ccm.load_balancers.plan import Observed, plan, plan_removal, unmet
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.steps import CreateFloatingIP, CreateLoadBalancer, DeleteLoadBalancer, Step
from moorage.ccm.load_balancers.targets import Stored, TargetNodes
from moorage.ccm.load_balancers.views import FINALIZER, Service, service_of, serving_nodes
from moorage.cloud.load_balancers import ACTIVE, LoadBalancer, LoadBalancers
from moorage.cloud.network import FloatingIP, Network
from moorage.kube.events import Recorder
from moorage.kube.objects import ENDPOINT_SLICES, SERVICES, KubernetesClient, Object, Resource, key_of
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, Failed, MoorageError, NotFound, QuotaExceeded

SERVICE_LABEL = "kubernetes.io/service-name"  # of an EndpointSlice: the name of its Service
BY_SERVICE = "service"  # the index of EndpointSlices for `slices.by`
ROUNDS = 8  # observations in one reconcile: creation takes three
SOON, RETRY, LATER = 0.5, 10.0, 60.0  # seconds
PENDING_ATTEMPTS = 12  # reconciles in which a load balancer may stay PENDING before an Event says so: about a minute

MAX_ATTEMPTS = 20  # failed reconciles in a row that are counted: the delay does not grow after that

FIRST_RETRY = 2.0  # seconds until the first retry; doubled for each further one
# The Event's reason for an error, and the longest delay of a retry in seconds.
PROBLEMS: dict[type[MoorageError], tuple[str, float]] = {
    BadInput: ("Refused", LATER),
    QuotaExceeded: ("QuotaExceeded", RETRY * 3),
    Conflict: ("InUse", RETRY * 3),
    NotFound: ("NotFound", RETRY * 3),
    Failed: ("Failed", LATER),
    CloudUnreachable: ("SyncLoadBalancerFailed", RETRY),
}


def index_slice(found: Object) -> tuple[str, ...]:
    """For the informer's index BY_SERVICE: `namespace/service` of an EndpointSlice."""
    name = (found["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return (f"{found['metadata']['namespace']}/{name}",) if name else ()


class Locks:
    """A lock for each load balancer: Services that share one are reconciled one after the other."""

    def __init__(self) -> None:
        self._guard, self._locks = Lock(), dict[str, Lock]()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            yield


@dataclass
class LoadBalancerReconciler:
    """Reconciles a Service with the cloud; the key is `namespace/name`.

    It keeps the applied state, and calls nothing in the cloud while the Service, its nodes and its endpoints do not
    change; `forget` makes it observe again. When only the nodes change, it replaces the members of the pools and
    observes nothing else.
    """

    api: KubernetesClient
    services: Stored
    targets: TargetNodes
    slices: Stored
    load_balancers: LoadBalancers
    network: Network
    settings: Settings
    events: Recorder
    executor: Executor
    name: str = "load-balancers"
    watches: tuple[Resource, ...] = (SERVICES, ENDPOINT_SLICES)
    workers: int = 4  # most of their time they wait for the cloud
    _applied: dict[str, AppliedState] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)
    _locks: Locks = field(default_factory=Locks)

    def __post_init__(self) -> None:
        self._pending = PendingOperations(self.load_balancers)

    def keys_for(self, resource: Resource, found: Object) -> Iterable[str]:
        return index_slice(found) if resource == ENDPOINT_SLICES else (key_of(found),)

    def affected(self) -> list[str]:
        """Keys of all Services with a load balancer, for a changed node."""
        return [key_of(service) for service in self.services.all() if self._is_managed(service_of(service))]

    def forget(self, key: str) -> None:
        """Observe the cloud again at the next reconcile of the key."""
        self._applied.pop(key, None)
        self._pending.forget(key)

    def applied(self) -> list[str]:
        """Keys of the Services whose state is applied, on a load balancer that was created for this cluster."""
        return [key for key, applied in list(self._applied.items()) if not applied.outline.existing]

    def reconcile(self, key: str) -> float | None:
        """Records errors of the cloud and of the Service as Events; raises those of the Kubernetes API."""
        found = self.services.get(key)
        if found is None:
            self.forget(key)
            self._attempts.pop(key, None)
            return None
        service = service_of(found)
        if not self._is_managed(service):
            return None
        try:
            again = self._ensure(key, found, service) if service.wanted else self._delete(key, found, service)
        except LoadBalancerPending as busy:
            return self._wait_for_pending(key, found, str(busy))
        except _Stale:
            return SOON
        except tuple(PROBLEMS) as error:
            return self._report_problem(key, found, error)
        self._attempts.pop(key, None)
        return again

    def _wait_for_pending(self, key: str, found: Object, why: str) -> float:
        """Retry soon, with growing delays; record an Event when it takes long."""
        attempts = self._count_attempt(key)
        if attempts + 1 >= PENDING_ATTEMPTS:
            self.events.event(
                found, "LoadBalancerPending", f"{why} for a long time: ask the cloud's operator if that continues"
            )
        return float(min(SOON * 1.5**attempts, RETRY))

    def _report_problem(self, key: str, found: Object, error: MoorageError) -> float:
        """Record the problem as an Event and retry with growing delays, because it may be transient."""
        reason, latest = PROBLEMS[type(error)]
        hint = f": {error.hint}" if error.hint else ""
        self.events.event(found, reason, f"{error.message}{hint}")
        return float(min(FIRST_RETRY * 2 ** self._count_attempt(key), latest))

    def _count_attempt(self, key: str) -> int:
        """The number of failed reconciles in a row before this one, up to MAX_ATTEMPTS."""
        before = self._attempts.get(key, 0)
        self._attempts[key] = min(before + 1, MAX_ATTEMPTS)
        return before

    def _is_managed(self, service: Service) -> bool:
        named = service.load_balancer_class in ("", self.settings.own_class)
        return named and (service.wanted or service.held)

    def _ensure(self, key: str, found: Object, service: Service) -> float | None:
        reading = read(service.annotations, self.settings.provider)
        desired_state = self._desired_state(key, service, reading)
        applied = self._applied.get(key)
        if applied and (applied.outline, applied.shown) == (desired_state.outline, _status_text(found)):
            return self._update_nodes(key, applied, desired_state)
        for sentence in reading.refused:
            self.events.event(found, "AnnotationRefused", sentence)
        found = self._add_finalizer(key, found, service)
        return self._converge(key, found, desired_state)

    def _desired_state(self, key: str, service: Service, reading: Reading) -> DesiredState:
        """Reads the subnets of the floating network only when a Service names one other than by id."""
        options = reading.options
        named = not options.internal and (options.floating_subnet or options.floating_subnet_tags)
        network = options.floating_network or self.settings.floating_network
        choices = self.network.subnets(network) if named and not options.floating_subnet_id else []
        subnet = choose_subnet(choices, options)
        serving = serving_nodes(self.slices.by(BY_SERVICE, key)) if service.local else frozenset[str]()
        return DesiredState.of(service, self.targets.all(), serving, options, self.settings, subnet)

    def _update_nodes(self, key: str, applied: AppliedState, desired_state: DesiredState) -> float | None:
        """Only nodes may have changed. When anything else differs, the next reconcile observes everything."""
        if applied.settled and applied.has(desired_state.nodes):
            return None
        with self._locks.hold(applied.load_balancer):
            if not applied.has(desired_state.nodes):
                return self._replace_members(key, applied, desired_state)
            status = self.load_balancers.status(applied.load_balancer)
        if status.startswith("PENDING"):
            raise LoadBalancerPending(f"the load balancer {applied.load_balancer} is {status}")
        if status != ACTIVE:
            self.forget(key)
            return SOON
        self._applied[key] = replace(applied, settled=True)
        return None

    def _replace_members(self, key: str, applied: AppliedState, desired_state: DesiredState) -> float:
        self.forget(key)
        try:
            self.executor.replace_members(
                applied.load_balancer, zip(applied.pools, desired_state.members(), strict=True)
            )
        except (Conflict, NotFound) as error:
            raise LoadBalancerPending(error.message) from error
        self._applied[key] = replace(applied, nodes=desired_state.nodes, settled=False)
        return SOON

    def _add_finalizer(self, key: str, found: Object, service: Service) -> Object:
        """The finalizer is added before anything is created in the cloud."""
        if service.held:
            return found
        finalizers = [*(found["metadata"].get("finalizers") or ()), FINALIZER]
        return self._patch(key, found, {"metadata": {"finalizers": finalizers}})

    def _converge(self, key: str, found: Object, desired_state: DesiredState) -> float | None:
        """Observe, plan and execute until no steps remain, then publish the address."""
        again = self._pending.next_poll(key)
        if again:
            return again
        desired = desired_state.with_members()
        observer = Observer(self.load_balancers, self.network, self.settings.group)
        state = ObservedState(
            observer, desired.service_ref, desired.existing, desired.floating_ip.address if desired.floating_ip else ""
        )
        for _ in range(ROUNDS):
            there = state.find()
            with self._locks.hold(there.load_balancer or desired.service_ref.tag):
                observed = state.observe()
                steps = plan(desired, observed)
                if not steps and not there.surplus:
                    return self._finish(key, found, desired_state, observed)
                self._announce_recreation(key, found, desired, steps)
                self._execute(steps)
            state.invalidate(steps)
            self._leave_surplus(observer, desired.service_ref, there.surplus)
        return SOON

    def _finish(self, key: str, found: Object, desired_state: DesiredState, observed: Observed) -> float | None:
        """No steps remain, but the load balancer may not be ready yet."""
        load_balancer = observed.load_balancer
        if load_balancer is None:
            return SOON
        if load_balancer.provisioning_status != ACTIVE:
            return self._pending.record(key, load_balancer.id)
        found = self._publish_status(key, found, desired_state.outline, load_balancer, observed.mapped)
        self._applied[key] = desired_state.applied(load_balancer, _status_text(found))
        return None

    def _leave_surplus(self, observer: Observer, service_ref: ServiceRef, surplus: Iterable[str]) -> None:
        """Remove the Service from load balancers that it no longer uses; its floating IP is kept."""
        for id in surplus:
            with self._locks.hold(id):
                observed = replace(observer.observe(service_ref, id), ours=(), mapped=None, rules=())
                self._execute(plan_removal(service_ref, observed, keep=True))

    def _announce_recreation(self, key: str, found: Object, desired: DesiredLoadBalancer, steps: list[Step]) -> None:
        """Before a load balancer is recreated, record an Event, and remove its id from the Service's annotations."""
        for step in steps:
            if isinstance(step, DeleteLoadBalancer):
                message = f"the load balancer {step.load_balancer} is in ERROR: it is deleted and recreated"
                self.events.event(found, "RecreatingLoadBalancer", message)
                if desired.existing == step.load_balancer:
                    self._patch(key, found, {"metadata": {"annotations": {LOAD_BALANCER_ID: None}}})
                    raise _Stale

    def _execute(self, steps: list[Step]) -> None:
        """A Conflict on an existing object means that it is PENDING or was changed meanwhile: observe again."""
        for step in steps:
            try:
                self.executor.execute([step])
            except (Conflict, NotFound) as error:
                if isinstance(step, CreateLoadBalancer | CreateFloatingIP):
                    raise
                raise LoadBalancerPending(error.message) from error

    def _publish_status(
        self,
        key: str,
        found: Object,
        desired: DesiredLoadBalancer,
        load_balancer: LoadBalancer,
        mapped: FloatingIP | None,
    ) -> Object:
        """Write the address into the Service's status; returns the Service."""
        for sentence in unmet(desired, load_balancer, self.settings.subnet):
            self.events.event(found, "AnnotationIgnored", sentence)
        address = load_balancer.address if desired.floating_ip is None or mapped is None else mapped.address
        ports = [
            {"port": listener.port, "protocol": _transport(listener.protocol)}
            for listener in desired.load_balancer.listeners
        ]
        entry: dict[str, Any] = {"hostname": desired.hostname} if desired.hostname else {"ip": address}
        if not desired.hostname:
            entry["ipMode"] = "Proxy" if desired.proxied else "VIP"
        ingress = [entry | {"ports": ports}]
        if _ingress(found) != ingress:
            found = self._patch(key, found, {"status": {"loadBalancer": {"ingress": ingress}}}, status=True)
            self.events.event(
                found, "EnsuredLoadBalancer", f"the load balancer {load_balancer.id} answers at {address}", "Normal"
            )
        return found

    def _delete(self, key: str, found: Object, service: Service) -> float | None:
        """Delete everything of the Service in the cloud, then remove the finalizer."""
        self.forget(key)
        service_ref = ServiceRef(self.settings.cluster, service.namespace, service.name)
        keep = service.annotations.get(KEEP, "").strip().lower() == "true"
        observer = Observer(self.load_balancers, self.network, self.settings.group)
        for _ in range(ROUNDS):
            there = observer.find(service_ref, "")
            with self._locks.hold(there.load_balancer or service_ref.tag):
                steps = plan_removal(service_ref, observer.observe(service_ref, there.load_balancer), keep)
                if not steps:
                    self._remove_finalizer(key, found)
                    return None
                self._execute(steps)
        return SOON

    def _remove_finalizer(self, key: str, found: Object) -> None:
        if _ingress(found):
            found = self._patch(key, found, {"status": {"loadBalancer": {"ingress": None}}}, status=True)
        left = [name for name in found["metadata"].get("finalizers") or () if name != FINALIZER]
        self._patch(key, found, {"metadata": {"finalizers": left}})

    def _patch(self, key: str, found: Object, change: Object, *, status: bool = False) -> Object:
        """With the resourceVersion that we saw, because a patch replaces lists entirely."""
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        guarded = {**change, "metadata": {**change.get("metadata", {}), **version}}
        try:
            return self.api.patch(SERVICES, key, guarded, status=status)
        except (Conflict, NotFound) as error:
            raise _Stale from error


class _Stale(Exception):
    """The Service changed or was deleted meanwhile: the watch delivers that."""


def _ingress(found: Object) -> list[Any]:
    return (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or []


def _status_text(found: Object) -> str:
    return repr(_ingress(found))


def _transport(protocol: str) -> str:
    return protocol if protocol in ("UDP", "SCTP") else "TCP"
