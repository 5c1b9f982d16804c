"""The reconciler of Services of type LoadBalancer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from moorage.ccm.load_balancers.annotations import KEEP, LOAD_BALANCER_ID, ParsedAnnotations, parse_annotations
from moorage.ccm.load_balancers.desired import AppliedState, DesiredLoadBalancer, DesiredState, choose_floating_subnet
from moorage.ccm.load_balancers.execute import (
    CreateFloatingIP,
    CreateLoadBalancer,
    DeleteLoadBalancer,
    Executor,
    LoadBalancerPending,
    Step,
)
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.observe import ObservedState, Observer, PendingOperations
from moorage.ccm.load_balancers.plan import Observed, ignored_annotations, plan, plan_removal
from moorage.ccm.load_balancers.settings import Settings
from moorage.ccm.load_balancers.views import (
    FINALIZER,
    Service,
    TargetNodes,
    nodes_with_endpoints,
    parse_service,
)
from moorage.cloud.port.load_balancers import ACTIVE, LoadBalancer, LoadBalancers
from moorage.cloud.port.network import FloatingIP, Network
from moorage.kube.events import Recorder
from moorage.kube.port import ENDPOINT_SLICES, SERVICES, KubernetesClient, Object, Resource, key_of
from moorage.kube.store import Store
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, Failed, MoorageError, NotFound, QuotaExceeded

SERVICE_LABEL = "kubernetes.io/service-name"  # on an EndpointSlice: the name of its Service
BY_SERVICE = "service"  # the index of EndpointSlices that `slices.by` uses
ROUNDS = 8  # observations of the cloud in one reconciliation: creation needs three
SOON, RETRY, LATER = 0.5, 10.0, 60.0  # seconds
PENDING_ATTEMPTS = 12  # reconciliations with a PENDING load balancer before an Event reports it: about a minute

MAX_ATTEMPTS = 20  # unsuccessful reconciliations in a row that are counted: the delay has reached its maximum by then

FIRST_RETRY = 2.0  # seconds until the first retry after a problem; each further problem doubles the delay
# The Event's reason for each error, and the maximum delay of a retry in seconds.
PROBLEMS: dict[type[MoorageError], tuple[str, float]] = {
    BadInput: ("Refused", LATER),
    QuotaExceeded: ("QuotaExceeded", RETRY * 3),
    Conflict: ("InUse", RETRY * 3),
    NotFound: ("NotFound", RETRY * 3),
    Failed: ("Failed", LATER),
    CloudUnreachable: ("SyncLoadBalancerFailed", RETRY),
}


def index_slice(endpoint_slice: Object) -> tuple[str, ...]:
    """The keys for the cache's index BY_SERVICE: `namespace/service` of an EndpointSlice."""
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    return (f"{metadata['namespace']}/{name}",) if name else ()


class Locks:
    """One lock for each load balancer: Services that share one are reconciled one after the other."""

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
    """Creates, updates and deletes the load balancer of a Service; the key is `namespace/name`.

    It remembers the applied state, so that it calls the cloud only if the Service, its nodes or its endpoints changed;
    after `forget`, it observes the cloud again. When only the nodes changed, it sets the members of the pools and
    observes nothing else.
    """

    api: KubernetesClient
    services: Store
    targets: TargetNodes
    slices: Store
    load_balancers: LoadBalancers
    network: Network
    settings: Settings
    events: Recorder
    executor: Executor
    name: str = "load-balancers"
    watches: tuple[Resource, ...] = (SERVICES, ENDPOINT_SLICES)
    workers: int = 4  # they mostly wait for the cloud
    _applied: dict[str, AppliedState] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)
    _locks: Locks = field(default_factory=Locks)

    def __post_init__(self) -> None:
        self._pending = PendingOperations(self.load_balancers)

    def keys_for(self, resource: Resource, found: Object) -> Iterable[str]:
        return index_slice(found) if resource == ENDPOINT_SLICES else (key_of(found),)

    def affected(self) -> list[str]:
        """Keys of all Services with a load balancer, which a change of a node may affect."""
        return [key_of(found) for found in self.services.all() if self._is_managed(parse_service(found))]

    def forget(self, key: str) -> None:
        """Forgets the applied state, so that the next reconciliation observes the cloud."""
        self._applied.pop(key, None)
        self._pending.forget(key)

    def applied_keys(self) -> list[str]:
        """Keys of the Services with an applied state and a load balancer that was created for this cluster."""
        return [key for key, applied in list(self._applied.items()) if not applied.outline.existing]

    def reconcile(self, key: str) -> float | None:
        """Records errors of the cloud and of the Service's author as Events; raises those of the Kubernetes API."""
        found = self.services.get(key)
        if found is None:
            self.forget(key)
            self._attempts.pop(key, None)
            return None
        service = parse_service(found)
        if not self._is_managed(service):
            return None
        try:
            if service.needs_load_balancer:
                retry_after = self._ensure(key, found, service)
            else:
                retry_after = self._delete(key, found, service)
        except LoadBalancerPending as pending:
            return self._wait_for_pending(key, found, str(pending))
        except _Stale:
            return SOON
        except tuple(PROBLEMS) as error:
            return self._report_problem(key, found, error)
        self._attempts.pop(key, None)
        return retry_after

    def _wait_for_pending(self, key: str, found: Object, reason: str) -> float:
        """Retries with an increasing delay, and records an Event after PENDING_ATTEMPTS."""
        attempts = self._count_attempt(key)
        if attempts + 1 >= PENDING_ATTEMPTS:
            message = f"{reason}, for about a minute or longer: if this continues, ask the cloud's operator"
            self.events.event(found, "LoadBalancerPending", message)
        return float(min(SOON * 1.5**attempts, RETRY))

    def _report_problem(self, key: str, found: Object, error: MoorageError) -> float:
        """Records an Event and retries with an increasing delay, because the problem may be temporary."""
        reason, max_delay = PROBLEMS[type(error)]
        hint = f": {error.hint}" if error.hint else ""
        self.events.event(found, reason, f"{error.message}{hint}")
        return float(min(FIRST_RETRY * 2 ** self._count_attempt(key), max_delay))

    def _count_attempt(self, key: str) -> int:
        """Returns the number of unsuccessful reconciliations in a row before this one, at most MAX_ATTEMPTS."""
        previous = self._attempts.get(key, 0)
        self._attempts[key] = min(previous + 1, MAX_ATTEMPTS)
        return previous

    def _is_managed(self, service: Service) -> bool:
        matches_class = service.load_balancer_class in ("", self.settings.load_balancer_class)
        return matches_class and (service.needs_load_balancer or service.has_finalizer)

    def _ensure(self, key: str, found: Object, service: Service) -> float | None:
        annotations = parse_annotations(service.annotations, self.settings.provider)
        desired_state = self._desired_state(key, service, annotations)
        applied = self._applied.get(key)
        if applied and (applied.outline, applied.status) == (desired_state.outline, _status_text(found)):
            return self._update_nodes(key, applied, desired_state)
        for warning in annotations.warnings:
            self.events.event(found, "AnnotationRefused", warning)
        found = self._add_finalizer(key, found, service)
        return self._converge(key, found, desired_state)

    def _desired_state(self, key: str, service: Service, annotations: ParsedAnnotations) -> DesiredState:
        """Lists the subnets of the floating network only if the Service names one by name or tags."""
        options = annotations.options
        named = not options.internal and (options.floating_subnet or options.floating_subnet_tags)
        network = options.floating_network or self.settings.floating_network
        subnets = self.network.subnets(network) if named and not options.floating_subnet_id else []
        subnet = choose_floating_subnet(subnets, options)
        endpoint_nodes = nodes_with_endpoints(self.slices.by(BY_SERVICE, key)) if service.local else frozenset[str]()
        return DesiredState.build(service, self.targets.all(), endpoint_nodes, options, self.settings, subnet)

    def _update_nodes(self, key: str, applied: AppliedState, desired_state: DesiredState) -> float | None:
        """Updates the members only. If the load balancer is in an unexpected state, the next reconciliation observes
        all of it."""
        if applied.confirmed and applied.has_members(desired_state.nodes):
            return None
        with self._locks.hold(applied.load_balancer):
            if not applied.has_members(desired_state.nodes):
                return self._replace_members(key, applied, desired_state)
            status = self.load_balancers.status(applied.load_balancer)
        if status.startswith("PENDING"):
            raise LoadBalancerPending(f"the load balancer {applied.load_balancer} is {status}")
        if status != ACTIVE:
            self.forget(key)
            return SOON
        self._applied[key] = replace(applied, confirmed=True)
        return None

    def _replace_members(self, key: str, applied: AppliedState, desired_state: DesiredState) -> float:
        self.forget(key)
        try:
            self.executor.replace_members(
                applied.load_balancer, zip(applied.pools, desired_state.members(), strict=True)
            )
        except (Conflict, NotFound) as error:
            raise LoadBalancerPending(error.message) from error
        self._applied[key] = replace(applied, nodes=desired_state.nodes, confirmed=False)
        return SOON

    def _add_finalizer(self, key: str, found: Object, service: Service) -> Object:
        """Adds the finalizer before it creates anything in the cloud."""
        if service.has_finalizer:
            return found
        finalizers = [*(found["metadata"].get("finalizers") or ()), FINALIZER]
        return self._patch(key, found, {"metadata": {"finalizers": finalizers}})

    def _converge(self, key: str, found: Object, desired_state: DesiredState) -> float | None:
        """Observes, plans and executes until no steps remain, then publishes the address."""
        next_poll = self._pending.next_poll(key)
        if next_poll:
            return next_poll
        desired = desired_state.with_members()
        observer = Observer(self.load_balancers, self.network, self.settings.group)
        state = ObservedState(
            observer, desired.service_ref, desired.existing, desired.floating_ip.address if desired.floating_ip else ""
        )
        for _ in range(ROUNDS):
            candidates = state.find()
            with self._locks.hold(candidates.load_balancer or desired.service_ref.tag):
                observed = state.observe()
                steps = plan(desired, observed)
                if not steps and not candidates.surplus:
                    return self._finish(key, found, desired_state, observed)
                self._announce_recreation(key, found, desired, steps)
                self._execute(steps)
            state.invalidate(steps)
            self._leave_surplus(observer, desired.service_ref, candidates.surplus)
        return SOON

    def _finish(self, key: str, found: Object, desired_state: DesiredState, observed: Observed) -> float | None:
        """Publishes the status if the load balancer is ACTIVE, else waits for it."""
        load_balancer = observed.load_balancer
        if load_balancer is None:
            return SOON
        if load_balancer.provisioning_status != ACTIVE:
            return self._pending.record(key, load_balancer.id)
        found = self._publish_status(key, found, desired_state.outline, load_balancer, observed.mapped)
        self._applied[key] = desired_state.applied(load_balancer, _status_text(found))
        return None

    def _leave_surplus(self, observer: Observer, service_ref: ServiceRef, surplus: Iterable[str]) -> None:
        """Removes the Service from load balancers that it no longer uses, and keeps its floating IP."""
        for id in surplus:
            with self._locks.hold(id):
                observed = replace(observer.observe(service_ref, id), owned=(), mapped=None, rules=())
                self._execute(plan_removal(service_ref, observed, keep_floating_ip=True))

    def _announce_recreation(self, key: str, found: Object, desired: DesiredLoadBalancer, steps: list[Step]) -> None:
        """Records an Event before a load balancer is recreated, and removes its id from the Service's annotation."""
        for step in steps:
            if isinstance(step, DeleteLoadBalancer):
                message = f"the load balancer {step.load_balancer} is in ERROR: it is deleted and recreated"
                self.events.event(found, "RecreatingLoadBalancer", message)
                if desired.existing == step.load_balancer:
                    self._patch(key, found, {"metadata": {"annotations": {LOAD_BALANCER_ID: None}}})
                    raise _Stale

    def _execute(self, steps: list[Step]) -> None:
        """A Conflict with an existing resource means that it is PENDING, or that another client changed it: retry."""
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
        """Returns the Service with its address in the status."""
        for message in ignored_annotations(desired, load_balancer, self.settings.subnet):
            self.events.event(found, "AnnotationIgnored", message)
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
            message = f"the load balancer {load_balancer.id} has the address {address}"
            self.events.event(found, "EnsuredLoadBalancer", message, "Normal")
        return found

    def _delete(self, key: str, found: Object, service: Service) -> float | None:
        """Deletes the Service's resources in the cloud, and then removes the finalizer."""
        self.forget(key)
        service_ref = ServiceRef(self.settings.cluster, service.namespace, service.name)
        keep = service.annotations.get(KEEP, "").strip().lower() == "true"
        observer = Observer(self.load_balancers, self.network, self.settings.group)
        for _ in range(ROUNDS):
            candidates = observer.find(service_ref, "")
            with self._locks.hold(candidates.load_balancer or service_ref.tag):
                steps = plan_removal(service_ref, observer.observe(service_ref, candidates.load_balancer), keep)
                if not steps:
                    self._remove_finalizer(key, found)
                    return None
                self._execute(steps)
        return SOON

    def _remove_finalizer(self, key: str, found: Object) -> None:
        if _ingress(found):
            found = self._patch(key, found, {"status": {"loadBalancer": {"ingress": None}}}, status=True)
        remaining = [name for name in found["metadata"].get("finalizers") or () if name != FINALIZER]
        self._patch(key, found, {"metadata": {"finalizers": remaining}})

    def _patch(self, key: str, found: Object, change: Object, *, status: bool = False) -> Object:
        """Patches the Service; raises _Stale if it changed since it was read, because a patch replaces whole lists."""
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        guarded = {**change, "metadata": {**change.get("metadata", {}), **version}}
        try:
            return self.api.patch(SERVICES, key, guarded, status=status)
        except (Conflict, NotFound) as error:
            raise _Stale from error


class _Stale(Exception):
    """The Service was changed or deleted meanwhile: the watch delivers its new state."""


def _ingress(found: Object) -> list[Any]:
    return (found.get("status", {}).get("loadBalancer") or {}).get("ingress") or []


def _status_text(found: Object) -> str:
    return repr(_ingress(found))


def _transport(protocol: str) -> str:
    return protocol if protocol in ("UDP", "SCTP") else "TCP"
