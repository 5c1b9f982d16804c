"""Create, observe and delete clusters: observe, plan, execute one step, until the plan is done.

A run can be interrupted anywhere. The next run observes what was done, and does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.stacks import Stack
from moorage.clusters import explain, keys, kubernetes, plan, preflight
from moorage.clusters.describe import describe, summarize
from moorage.clusters.keys import KeyStore
from moorage.clusters.observer import ConnectKube, Observer
from moorage.clusters.owned.cleanup import Cleanup
from moorage.clusters.owned.resources import CleanupPreview
from moorage.clusters.parameters import CLUSTER_TAG, bootstrap_token, stack_request
from moorage.kube.kubeconfig import KubeAccess
from moorage.kube.port import NODES
from moorage.model.cluster import Cluster, ClusterSpec, DeletionResult, Event
from moorage.model.credential import Credential, clouds_yaml
from moorage.model.errors import CloudUnreachable, Conflict, Failed, NotFound, TimedOut, Unreachable

Report = Callable[[str], None]
READY_TIMEOUT = 600  # seconds that a node has to become Ready
OUTAGE_LIMIT = 120.0  # seconds for which the cloud may be unreachable during a run


@dataclass(frozen=True)
class PollInterval:
    """Seconds between two observations; tests replace the clock."""

    interval: float = 1.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = lambda seconds: time.sleep(seconds)


def key_store(cloud: Cloud, data_folder: Path) -> KeyStore:
    """The keys that this machine has for the clusters of that project."""
    return KeyStore(data_folder / "clusters" / cloud.identity.project)


def create(
    cloud: Cloud,
    connect_kube: ConnectKube,
    data_folder: Path,
    spec: ClusterSpec,
    report: Report,
    *,
    wait: bool = True,
    timeout: float = READY_TIMEOUT + 300,
    poll: PollInterval = PollInterval(),
) -> Cluster:
    """Create a cluster, or resume its creation, or return the existing one.

    Returns when every node is Ready and CoreDNS is available; without `wait`, when Heat has accepted the stack. Raises
    BadInput and QuotaExceeded before anything is created, Conflict when a different cluster has that name, Failed with
    the failed resource's reason, TimedOut after `timeout` seconds, CloudUnreachable.
    """
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), spec.name)
    run = _Run(observer, EventLog(report, poll), timeout)
    try:
        if preflight.spec_problems(spec):
            preflight.check(cloud, spec)
        run.create(_with_image_id(cloud, spec), wait)
        return replace(observe(cloud, connect_kube, data_folder, spec.name), events=tuple(run.log.events))
    finally:
        observer.close()


def delete(
    cloud: Cloud,
    connect_kube: ConnectKube,
    data_folder: Path,
    name: str,
    report: Report,
    *,
    keep_volumes: bool = False,
    wait: bool = True,
    timeout: float = 600,
    poll: PollInterval = PollInterval(),
) -> DeletionResult:
    """Delete all that a cluster ever created, and its key on this machine. Returns what was done and what is kept.

    The cluster's API is not needed. Volumes and snapshots are kept by their reclaim policy, and all of them with
    `keep_volumes`. Without `wait` it returns once Heat has accepted the deletion; a second call with `wait` verifies
    that nothing remains and deletes the key. Raises NotFound when there is nothing of that name, Failed when something
    remains.
    """
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    run = _Run(observer, EventLog(report, poll), timeout)
    cleanup = Cleanup(cloud, name, keep_volumes)
    run.delete(cleanup, wait)
    return DeletionResult(tuple(run.log.events), tuple(cleanup.kept.values()))


def preview_deletion(
    cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str, *, keep_volumes: bool = False
) -> CleanupPreview:
    """What the cluster owns beside its stack, and what `delete` would delete and keep of that; NotFound as there."""
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    observed = observer.observe(kubernetes=False)
    preview = Cleanup(cloud, name, keep_volumes).observe(stackless=observed.stack is None)
    if replace(observed, preview=preview).absent:
        raise _no_cluster(name)
    return preview


def observe(cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str) -> Cluster:
    """The cluster as it is now, with its nodes; NotFound when there is none."""
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    try:
        observed = observer.observe()
    finally:
        observer.close()
    if observed.stack is None:
        raise _no_cluster(name)
    full = cloud.stacks.get(observed.stack.id, outputs=True) or observed.stack
    return describe(replace(observed, stack=full), observed.servers or cloud.servers.list(name))


def clusters(cloud: Cloud) -> list[Cluster]:
    """All clusters of the project by name, without nodes, as their stacks describe them."""
    return sorted((summarize(stack) for stack in cloud.stacks.list(CLUSTER_TAG)), key=lambda cluster: cluster.name)


def access(cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str) -> KubeAccess:
    """Access to the cluster's Kubernetes API with this machine's key.

    Raises NotFound when there is no such cluster, Conflict when the key is on another machine or the control plane has
    not published its certificates yet.
    """
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    observed = observer.observe(kubernetes=False)
    if observed.stack is None:
        raise _no_cluster(name)
    if not observed.key:
        raise Conflict(
            f"the private key of cluster {name!r} is not on this machine; it never leaves the machine that created it",
            f"run this where the cluster was created, or copy {observer.keys.path(name)} from there",
        )
    found = observer.access(observed.stack)
    if found is None:
        raise Conflict(f"cluster {name!r} has no certificates yet", f"moorage cluster show {name}")
    return found


def renew_credential(cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str) -> None:
    """Replace the cluster's application credential by a new one, and revoke the old one.

    May be repeated. Raises the errors of `access`, Conflict for a cluster without a credential, BadInput when Keystone
    refuses to create one, CloudUnreachable, and KubernetesUnreachable.
    """
    stack = cloud.stacks.get(name)
    if stack is not None and not stack.parameters.get("cloud_provider"):
        raise Conflict(f"cluster {name!r} was created with --no-cloud-provider: it has no credential")
    kube = connect_kube(access(cloud, connect_kube, data_folder, name))
    try:
        made = cloud.identity.create_credential(name)
        kubernetes.update_credential(kube, clouds_yaml(made))
        cloud.identity.delete_credentials(name, keep=made.id)
    finally:
        kube.close()


def _no_cluster(name: str) -> NotFound:
    return NotFound(f"no cluster {name!r} in this project", "moorage cluster list")


def _creation_failed(name: str, step: plan.Fail) -> Failed:
    if step.used:
        return Failed(
            f"cluster {name!r} exists, but could not be repaired: {step.reason}",
            "fix the cause, then run this command again; what runs in the cluster keeps running."
            f" To give it up: moorage cluster delete {name}, then create it again",
        )
    return Failed(
        f"cluster {name!r} could not be created: {step.reason}",
        f"moorage cluster delete {name}, fix the cause, then create it again",
    )


def _with_image_id(cloud: Cloud, spec: ClusterSpec) -> ClusterSpec:
    """Replace the name of an image by its id, as the stack has it; preflight rejects an image that does not exist."""
    if spec.image is None:
        return spec
    match = cloud.images.find(spec.image)
    return replace(spec, image=match.id) if match else spec


@dataclass
class EventLog:
    """Reports each step once, and keeps when it began."""

    report: Report
    poll: PollInterval
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.poll.now()

    @property
    def seconds(self) -> float:
        return self.poll.now() - self.began

    def record(self, text: str) -> None:
        if not self.events or self.events[-1].text != text:
            self.events.append(Event(round(self.seconds, 1), text))
            self.report(text)


@dataclass
class ProgressTracker:
    """Measures for how long a stack has not changed."""

    last_state: object = None
    since: float = 0.0
    unresponsive: bool = False

    def update(self, observed: plan.Observed, now: float) -> plan.Observed:
        """The observed state with `unchanged_for`, which starts at zero again once the stack counts as stuck."""
        last_state = (observed.stack and observed.stack.status, {(r.path, r.status) for r in observed.resources})
        if last_state != self.last_state:
            self.last_state, self.since = last_state, now
        seen = replace(observed, unchanged_for=now - self.since, unresponsive=self.unresponsive)
        if seen.stuck:
            self.since, self.unresponsive = now, False
        return seen


@dataclass
class _Run:
    """One run of the loop."""

    observer: Observer
    log: EventLog
    timeout: float
    attempts: plan.Attempts = field(default_factory=plan.Attempts)
    ids: set[str] = field(default_factory=set)
    seen: float | None = None
    progress: ProgressTracker = field(default_factory=ProgressTracker)
    spec: ClusterSpec | None = None
    credential: Credential | None = None

    def create(self, spec: ClusterSpec, wait: bool) -> None:
        message, hint = (
            f"cluster {spec.name!r} is not ready",
            f"its creation continues: moorage cluster show {spec.name}",
        )
        while True:
            observed = self._observe()
            if observed and self._step_creation(plan.plan_creation(spec, observed, self.attempts), spec, wait):
                return
            self._wait(message, hint)

    def _step_creation(self, step: plan.Step, spec: ClusterSpec, wait: bool) -> bool:
        """Execute one step; True when the run is done."""
        match step:
            case plan.Reject():
                raise Conflict(
                    f"a different cluster {spec.name!r} exists: {'; '.join(step.differences)}",
                    f"choose another name, or moorage cluster delete {spec.name}",
                )
            case plan.Fail():
                raise _creation_failed(spec.name, step)
            case plan.Done():
                self.log.record(f"cluster {spec.name} is ready" + (f": {step.note}" if step.note else ""))
                return True
            case plan.CreateStack():
                return self._create_stack(spec) and not wait
            case plan.Wait():
                self.log.record(step.reason)
                return not wait
            case _:
                self._execute(step)
        return False

    def _execute(self, step: plan.Step) -> None:
        match step:
            case plan.DeleteStack():
                self._delete(step)
            case plan.ResumeStack():
                self._resume(step)
            case plan.ReplaceNodes():
                self._replace(step)
            case plan.DeleteOrphans():
                self._delete_orphans(step)

    def delete(self, cleanup: Cleanup, wait: bool) -> None:
        name, first = self.observer.name, True
        while True:
            observed = self._observe(kubernetes=False, cleanup=cleanup)
            step = plan.plan_deletion(observed, self.attempts) if observed else None
            if first and observed and observed.absent:
                raise _no_cluster(name)
            first = first and observed is None
            if step and self._step_deletion(step, cleanup):
                return
            # Without `wait`, return once the deletion of the stack was requested; that comes after its network is free.
            if step and not wait and not (isinstance(step, plan.DeleteOwned) and observed and observed.stack):
                return
            self._wait(f"cluster {name!r} is not deleted", "run the same command again to resume")

    def _step_deletion(self, step: plan.Step, cleanup: Cleanup) -> bool:
        """Execute one step; True when nothing remains."""
        match step:
            case plan.DeleteOwned():
                self._delete_owned(step, cleanup)
            case plan.DeleteOrphans():
                self._delete_orphans(step)
            case plan.DeleteKey():
                if self._verify_deleted():
                    self.observer.keys.delete(self.observer.name)
                    return True
            case plan.Fail():
                raise Failed(
                    f"cluster {self.observer.name!r} could not be deleted: {step.reason}",
                    "remove what blocks it, then delete it again",
                )
            case plan.DeleteStack():
                self._delete(step)
            case plan.Wait():
                self.log.record(step.reason)
        return False

    def _delete_owned(self, step: plan.DeleteOwned, cleanup: Cleanup) -> None:
        if step.deletions:
            cleanup.execute(step.deletions, self.log.record)
        else:
            self.log.record(step.waiting[0] + (f" (and {more} more)" if (more := len(step.waiting) - 1) else ""))

    def _create_stack(self, spec: ClusterSpec) -> bool:
        """Check the spec, create the key if needed, request the stack; False when Heat could not be reached."""
        spec = self._complete(spec)
        key = self.observer.keys.get_or_create(spec.name)
        self.attempts = replace(self.attempts, creations=self.attempts.creations + 1)
        try:
            credential = self._credential(spec)
            self.log.record("requesting a network, a control plane and workers from Heat")
            request = stack_request(spec, keys.signing_request(key), READY_TIMEOUT, credential)
            self.observer.cloud.stacks.create(request)
        except Conflict:
            return False  # another run was faster: the next observation shows its stack
        except CloudUnreachable as error:
            if self.attempts.creations >= plan.MAX_ATTEMPTS:
                raise
            self.log.record(f"requesting the stack again: {error.message}")
            return False
        return True

    def _credential(self, spec: ClusterSpec) -> Credential | None:
        """The application credential of the new cluster; created once in a run."""
        if spec.cloud_provider and self.credential is None:
            self.credential = self.observer.cloud.identity.create_credential(spec.name)
        return self.credential

    def _complete(self, spec: ClusterSpec) -> ClusterSpec:
        """The spec with what it left open; checked once in a run."""
        if self.spec is None:
            self.log.record("checking names, flavors, image, addresses and quotas")
            self.spec = preflight.check(self.observer.cloud, spec)
        return self.spec

    def _delete(self, step: plan.DeleteStack) -> None:
        self.log.record(step.reason)
        cloud = self.observer.cloud
        try:
            self.ids |= {
                resource.physical_id for resource in cloud.stacks.resources(step.stack) if resource.physical_id
            }
            # Heat would retry for a minute before it reports that something blocks a deletion.
            delete_orphans = (
                not (step.delete_orphans or step.stack.status.endswith("_FAILED")) or self._orphans_deleted()
            )
            if not delete_orphans and step.stack.status == "DELETE_FAILED":
                return
            cloud.stacks.delete(step.stack)
            self.attempts = replace(self.attempts, deletions=self.attempts.deletions + 1)
        except (CloudUnreachable, Conflict) as error:
            self.log.record(f"trying again: {error.message}")

    def _resume(self, step: plan.ResumeStack) -> None:
        self.log.record(step.reason)
        self.attempts = replace(self.attempts, resumptions=self.attempts.resumptions + 1)
        try:
            if step.attached:
                self.observer.cloud.network.detach_subnet(*step.attached)
            self.observer.cloud.stacks.resume(step.stack)
        except (CloudUnreachable, Conflict) as error:
            self.log.record(f"trying again: {error.message}")

    def _replace(self, step: plan.ReplaceNodes) -> None:
        """The first boots of the nodes need a new token, because the stack's first token has expired."""
        self.log.record(step.reason)
        self.attempts = replace(self.attempts, replacements=self.attempts.replacements + 1)
        name, token = self.observer.name, bootstrap_token()
        try:
            if kube := self.observer.kube(step.stack):
                for server in step.servers:
                    kube.delete(NODES, explain.node_name(server, name))
                kubernetes.create_join_token(kube, token)
                nodes = [server.path[:-1] for server in step.servers]
                self.observer.cloud.stacks.replace_resources(step.stack, nodes, {"bootstrap_token": token}, step.reason)
        except Unreachable as error:
            self.log.record(f"waiting for the cloud: {error.message}")

    def _delete_orphans(self, step: plan.DeleteOrphans) -> None:
        self.ids |= set(step.ids)
        try:
            self._orphans_deleted()
        except CloudUnreachable as error:
            self.log.record(f"waiting for the cloud: {error.message}")

    def _orphans_deleted(self) -> bool:
        """Delete what Heat does not know; False while a deletion is in progress."""
        remaining = self.observer.cloud.delete_orphans(self.observer.name, self.ids)
        if remaining:
            self.log.record(f"waiting for Nova to delete what Heat does not know: {', '.join(remaining)}")
        return not remaining

    def _verify_deleted(self) -> bool:
        self.log.record("checking that nothing remains")
        try:
            remaining = self.observer.cloud.leftovers(self.observer.name, self.ids)
            if remaining:
                self._orphans_deleted()
            else:
                self.observer.cloud.identity.delete_credentials(self.observer.name)
        except CloudUnreachable as error:
            self.log.record(f"waiting for the cloud: {error.message}")
            return False
        if remaining:
            self.log.record(
                f"waiting for what remains: {', '.join(remaining[:3])}" + (" …" if len(remaining) > 3 else "")
            )
        return not remaining

    def _observe(self, *, kubernetes: bool = True, cleanup: Cleanup | None = None) -> plan.Observed | None:
        """Observe. A cloud that answered before may be unreachable for a while (None); one that never did may not."""
        try:
            observed = self.observer.observe(kubernetes=kubernetes)
            if cleanup:
                observed = replace(observed, preview=self._preview_cleanup(cleanup, observed.stack))
        except CloudUnreachable as error:
            if self.seen is None or self.log.poll.now() - self.seen > OUTAGE_LIMIT:
                raise
            self.log.record(f"waiting for the cloud: {error.message}")
            self.progress.unresponsive |= error.service == "Heat"
            return None
        self.seen = self.log.poll.now()
        return self.progress.update(observed, self.seen)

    def _preview_cleanup(self, cleanup: Cleanup, stack: Stack | None) -> CleanupPreview:
        """While Heat deletes the stack, do not list again what was empty before: the requests would slow Heat down."""
        if stack and stack.status == "DELETE_IN_PROGRESS" and cleanup.seen and cleanup.seen.done:
            return cleanup.seen
        known = set(cleanup.kept)
        preview = cleanup.observe(stackless=stack is None)
        for resource in preview.kept:
            if resource.id not in known:
                self.log.record(f"keeping {resource}")
        return preview

    def _wait(self, message: str, hint: str) -> None:
        if self.log.seconds > self.timeout:
            last = self.log.events[-1].text if self.log.events else "nothing was observed"
            raise TimedOut(f"{message} after {self.timeout:.0f} s: {last}", hint)
        self.log.poll.sleep(self.log.poll.interval)
