"""Create, observe and delete clusters: observe, plan, execute one step, until the plan is done.

A run can be interrupted anywhere. The next run observes what was done, and does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.servers import own_servers
from moorage.clusters import events, kubernetes
from moorage.clusters.deletion.resources import CleanupPlan, combine
from moorage.clusters.deletion.run import ClusterDeletion
from moorage.clusters.describe import describe, summarize
from moorage.clusters.execute import READY_TIMEOUT, Executor
from moorage.clusters.keys import KeyStore
from moorage.clusters.nodes import NodeExecutor
from moorage.clusters.observer import ConnectKube, Observer
from moorage.clusters.parameters import CLUSTER_TAG, GROUP_TAG, base_tag, differences, with_surge_of
from moorage.clusters.preflight.check import check
from moorage.clusters.preflight.spec import spec_problems
from moorage.clusters.progress import EVERY_SECOND, REQUESTED, PollInterval, ProgressLog, Report, Run
from moorage.clusters.state import DesiredState, Observed
from moorage.kube.kubeconfig import KubeAccess
from moorage.model.cluster import Cluster, ClusterEvent, ClusterSpec, DeletionResult
from moorage.model.credential import clouds_yaml
from moorage.model.errors import Conflict, NotFound


def key_store(cloud: Cloud, data_folder: Path) -> KeyStore:
    """The keys that this machine has for the clusters of that project and region."""
    scope = (cloud.identity.project, cloud.identity.region)
    return KeyStore(data_folder / "clusters" / ".".join(part for part in scope if part))


def create(
    cloud: Cloud,
    connect_kube: ConnectKube,
    data_folder: Path,
    spec: ClusterSpec,
    report: Report,
    *,
    wait: bool = True,
    timeout: float = READY_TIMEOUT + 300,
    poll: PollInterval = EVERY_SECOND,
) -> Cluster:
    """Create a cluster, or resume its creation, or return the existing one.

    Returns when every node is Ready and CoreDNS is available; without `wait`, when Heat has accepted the stack. Raises
    BadInput and QuotaExceeded before anything is created, Conflict when a different cluster has that name, Failed with
    the failed resource's reason, TimedOut after `timeout` seconds, CloudUnreachable.
    """
    if spec_problems(spec):
        check(cloud, spec)
    requested = _with_image_ids(cloud, spec)
    with session(cloud, connect_kube, data_folder, spec.name, report, timeout, poll, "create the cluster") as (
        observer,
        run,
    ):
        Executor(observer, run, lambda observed: _desired(requested, observed), NodeExecutor(observer, run)).execute(
            wait=wait
        )
        return replace(observe(cloud, connect_kube, data_folder, spec.name), progress=tuple(run.log.steps))


def repair(
    cloud: Cloud,
    connect_kube: ConnectKube,
    data_folder: Path,
    name: str,
    report: Report,
    *,
    timeout: float = READY_TIMEOUT + 300,
    poll: PollInterval = EVERY_SECOND,
) -> Cluster:
    """Recreate what is missing or broken of a cluster, or was deleted without Moorage. Errors of `create`; NotFound."""
    with session(cloud, connect_kube, data_folder, name, report, timeout, poll, "repair the cluster") as (
        observer,
        run,
    ):
        Executor(observer, run, lambda observed: _repaired(name, observed), NodeExecutor(observer, run)).execute()
        return replace(observe(cloud, connect_kube, data_folder, name), progress=tuple(run.log.steps))


@contextmanager
def session(
    cloud: Cloud,
    connect_kube: ConnectKube,
    data_folder: Path,
    name: str,
    report: Report,
    timeout: float,
    poll: PollInterval,
    request: str,
) -> Iterator[tuple[Observer, Run]]:
    """An observer of a cluster, and a run that changes it, as `request` names it."""
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    requested = ClusterEvent("", REQUESTED, name, request)
    hint = f"run the same command again to resume; moorage cluster show {name}"
    try:
        yield observer, Run(ProgressLog(report, poll), timeout, f"cluster {name!r} is not ready", hint, requested)
    finally:
        observer.close()


def _repaired(name: str, observed: Observed) -> DesiredState:
    """What the stacks record; a deletion that failed is tried again."""
    deleted = [it.group for it in observed.groups if it.action == "DELETE" and it is observed.group(it.group)]
    return DesiredState(recorded(name, observed), deleted)


def recorded(name: str, observed: Observed) -> ClusterSpec:
    """The spec that the cluster has; NotFound when there is none."""
    if observed.base is None or observed.base.action == "DELETE":
        raise no_cluster(name)
    return observed.spec


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
    poll: PollInterval = EVERY_SECOND,
) -> DeletionResult:
    """Delete all that a cluster ever created, and its key on this machine. Returns what was done and what is kept.

    The cluster's API is not needed. Volumes and snapshots are kept by their reclaim policy, and all of them with
    `keep_volumes`. Without `wait` it returns once Heat has accepted the deletion; a second call with `wait` verifies
    that nothing remains and deletes the key. Raises NotFound when there is nothing of that name, Failed when something
    remains.
    """
    log = ProgressLog(report, poll)
    run = Run(log, timeout, f"cluster {name!r} is not deleted", "run the same command again to resume")
    deletion, observer = _deletion(cloud, connect_kube, data_folder, name, run, keep_volumes)
    deletion.check(_preview(deletion, observer))
    deletion.delete(deletion.kinds, wait=wait)
    if wait or cloud.stacks.get(name) is None:
        observer.keys.delete(name)
    return DeletionResult(tuple(log.steps), tuple(deletion.kept.values()))


def preview_deletion(
    cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str, *, keep_volumes: bool = False
) -> CleanupPlan:
    """What the cluster owns beside its nodes and their network, and what `delete` would delete and keep of that.

    NotFound as there.
    """
    run = Run(ProgressLog(lambda _: None, EVERY_SECOND), 0, "", "")
    return combine(_preview(*_deletion(cloud, connect_kube, data_folder, name, run, keep_volumes)))


def _deletion(
    cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str, run: Run, keep_volumes: bool
) -> tuple[ClusterDeletion, Observer]:
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    return ClusterDeletion(cloud, name, observer.base(), run, keep_volumes), observer


def _preview(deletion: ClusterDeletion, observer: Observer) -> Sequence[CleanupPlan]:
    preview = deletion.preview()
    if deletion.stack is None and combine(preview).done and observer.keys.key(deletion.cluster) is None:
        raise no_cluster(deletion.cluster)
    return preview


def observe(cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str) -> Cluster:
    """The cluster as it is now, with its nodes; NotFound when there is none."""
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    try:
        observed = observer.observe()
    finally:
        observer.close()
    if observed.base is None:
        raise no_cluster(name)
    full = cloud.stacks.get(observed.base.stack.id, outputs=True) or observed.base.stack
    return describe(
        replace(observed, base=replace(observed.base, stack=full)), observed.servers or cloud.servers.list(name)
    )


def list_events(cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str) -> list[ClusterEvent]:
    """What happened to a cluster, oldest first; NotFound when there is none.

    Heat keeps about a thousand changes of each stack, Kubernetes its Events for an hour; those are missing when this
    machine has no key for the cluster, or its API does not answer.
    """
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    try:
        if (base := observer.base()) is None:
            raise no_cluster(name)
        kube = observer.kube(base) if observer.has_key(base) else None
        stacks = [base, *observer.group_stacks(base)]
        return events.of_cluster(cloud, stacks, kube)
    finally:
        observer.close()


def clusters(cloud: Cloud) -> list[Cluster]:
    """All clusters of the project by name, as their stacks and servers describe them: one request for each kind."""
    bases, listed, servers = cloud.stacks.list(CLUSTER_TAG), cloud.stacks.list(GROUP_TAG), cloud.servers.list()
    found = []
    for base in bases:
        groups = [stack for stack in listed if base_tag(base) in stack.tags]
        found.append(summarize(base, groups, own_servers(servers, base.name)))
    return sorted(found, key=lambda cluster: cluster.name)


def access(cloud: Cloud, connect_kube: ConnectKube, data_folder: Path, name: str) -> KubeAccess:
    """Access to the cluster's Kubernetes API with this machine's key.

    Raises NotFound when there is no such cluster, Conflict when the key is on another machine or the control plane has
    not published its certificates yet.
    """
    observer = Observer(cloud, connect_kube, key_store(cloud, data_folder), name)
    base = observer.base()
    if base is None:
        raise no_cluster(name)
    if not observer.has_key(base):
        raise Conflict(
            f"the private key of cluster {name!r} is not on this machine; it never leaves the machine that created it",
            f"run this where the cluster was created, or copy {observer.keys.path(name)} from there",
        )
    found = observer.access(base)
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
        for id in cloud.identity.credentials(name):
            if id != made.id:
                cloud.identity.delete_credential(id)
    finally:
        kube.close()


def no_cluster(name: str) -> NotFound:
    return NotFound(f"no cluster {name!r} in this project", "moorage cluster list")


def _desired(requested: ClusterSpec, observed: Observed) -> DesiredState:
    """The requested spec, with the node groups that were added since; Conflict for a cluster that has another one."""
    if observed.base is None or observed.base.action == "DELETE":
        return DesiredState(requested, creates=True)
    there = observed.spec
    if different := differences(requested, there):
        raise Conflict(
            f"a different cluster {requested.name!r} exists: {'; '.join(different)}",
            f"choose another name, or moorage cluster delete {requested.name}",
        )
    groups = [group for group in there.groups if requested.group(group.name) is None]
    for group in requested.groups:
        other = there.group(group.name)
        groups.append(group if other is None else with_surge_of(group, other))
    return DesiredState(replace(requested, groups=tuple(groups)), creates=True)


def image_id(cloud: Cloud, name: str) -> str:
    """The id of a named image; the name itself when there is none, which preflight rejects."""
    found = cloud.images.find(name)
    return found.id if found else name


def _with_image_ids(cloud: Cloud, spec: ClusterSpec) -> ClusterSpec:
    """Replace names of images by their ids, as stacks have them; preflight rejects an image that does not exist."""
    named = {image for image in (spec.image, *(group.image for group in spec.groups)) if image}
    ids = {image: image_id(cloud, image) for image in named}
    groups = tuple(replace(group, image=ids.get(group.image, group.image)) for group in spec.groups)
    return replace(spec, image=ids.get(spec.image or "", spec.image), groups=groups)
