"""Arguments and composition of `moorage-controller`; the bootstrap supplies the adapters."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from uuid import uuid4

import click

from moorage.ccm.load_balancers import settings as load_balancing
from moorage.ccm.load_balancers.execute import Executor
from moorage.ccm.load_balancers.garbage_collect import OrphanCollector
from moorage.ccm.load_balancers.reconcile import BY_SERVICE, LoadBalancerReconciler, index_slice
from moorage.ccm.load_balancers.views import NodeChanges, TargetNodes
from moorage.ccm.nodes.certificates import CertificateReconciler
from moorage.ccm.nodes.groups import GroupReconciler
from moorage.ccm.nodes.identity import Place
from moorage.ccm.nodes.reconcile import NodeReconciler, ServerPoll
from moorage.ccm.nodes.view import ServerView
from moorage.cloud.port.load_balancers import LoadBalancers
from moorage.cloud.port.network import Network
from moorage.cloud.port.servers import Servers
from moorage.cloud.port.volumes import Volumes
from moorage.controller.credential import CredentialWatch, until_accepted
from moorage.controller.health import Endpoints, serve
from moorage.controller.logs import log_json
from moorage.controller.metrics import Metrics, count_calls
from moorage.controller.run import LIST_TIMEOUT, Runner, lead
from moorage.csi.cinder.reconcile import ClassReconciler, snapshot_policies, volume_policies
from moorage.host.signals import stop_on_sigterm
from moorage.kube.events import Recorder
from moorage.kube.informer import Informer, wait_ready
from moorage.kube.lease import Elector, LeaseTimings
from moorage.kube.port import (
    ENDPOINT_SLICES,
    NODES,
    PERSISTENT_VOLUMES,
    SERVICES,
    SIGNING_REQUESTS,
    SNAPSHOT_CONTENTS,
    KubernetesClient,
)
from moorage.model.errors import BadInput

NAME = "moorage-controller"
LEASE = f"kube-system/{NAME}"
ALIVE_EVERY = 1.0  # seconds between two checks that no thread has died
PORT = 10270  # on the loopback interface; Kubernetes' own controllers use the ports around it
log = logging.getLogger(__name__)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PATH = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Project:
    """One project of a cloud, by its ports; the region may be empty, and without Cinder there are no volumes."""

    region: str
    servers: Servers
    load_balancers: LoadBalancers
    network: Network
    volumes: Volumes | None = None


@dataclass(frozen=True)
class Adapters:
    """Connects to the API by a kubeconfig, and to the project by an entry of a clouds.yaml.

    `project` reads what the cloud offers, and raises CloudUnreachable. The result of `check` raises that when Keystone
    refuses the credential or does not answer.
    """

    kube: Callable[[Path], KubernetesClient]
    project: Callable[[Path, str], Project]
    check: Callable[[Path, str], Callable[[], None]]


@dataclass(frozen=True)
class Settings:
    """A controller's configuration.

    `cluster` is the name in the servers' metadata; `me` is the lease holder's identity.
    """

    cluster: str
    place: Place
    me: str
    port: int = PORT
    timings: LeaseTimings = field(default_factory=LeaseTimings)


@dataclass(frozen=True)
class Controller:
    """The composed controller, ready to run; `without_cloud` is the part that runs already."""

    runner: Runner
    elector: Elector
    metrics: Metrics
    settings: Settings
    without_cloud: Runner | None = None

    def run(self, stop: Event) -> bool:
        """Run until `stop`; False when the lease was lost."""
        endpoints = Endpoints(self._alive, self.runner.cache.ready, self.metrics)
        with serve(endpoints, self.settings.port):
            return lead(self.runner, self.elector, stop, self.settings.timings.every)

    def _alive(self) -> bool:
        runners = (self.runner, self.without_cloud) if self.without_cloud else (self.runner,)
        return all(runner.cache.alive() and runner.alive() for runner in runners)


def start_without_cloud(api: KubernetesClient, node_cidr: str, metrics: Metrics, stop: Event) -> Runner:
    """Approve serving certificates and keep nodes' labels from now on: before the cloud answers, without the lease."""
    runner = Runner(Informer(api), metrics)
    requests, nodes = runner.cache.store(SIGNING_REQUESTS), runner.cache.store(NODES)
    runner.add(CertificateReconciler(api, requests, nodes, node_cidr))
    runner.add(GroupReconciler(api, nodes))
    runner.cache.start(stop)
    wait_ready(runner.cache, stop, LIST_TIMEOUT)
    runner.start()
    return runner


def compose(
    api: KubernetesClient,
    project: Project,
    settings: Settings,
    load_balancer_settings: load_balancing.Settings | None = None,
    watch: CredentialWatch | None = None,
    without_cloud: Runner | None = None,
) -> Controller:
    """Add all reconcilers to the runner. Without `load_balancer_settings` there are no load balancers."""
    metrics, cache = without_cloud.metrics if without_cloud else Metrics(), Informer(api)
    runner = Runner(cache, metrics)
    events = Recorder(api, NAME, time.monotonic)
    _add_nodes(runner, api, project, settings, events)
    if load_balancer_settings:
        _add_load_balancers(runner, api, project, load_balancer_settings, events)
    if watch:
        runner.add(watch)
    _add_volumes(runner, api, project.volumes, settings, events)
    elector = Elector(api, LEASE, settings.me, time.monotonic, settings.timings)
    return Controller(runner, elector, metrics, settings, without_cloud)


def _add_nodes(runner: Runner, api: KubernetesClient, project: Project, settings: Settings, events: Recorder) -> None:
    servers = count_calls(project.servers, "servers", runner.metrics.record_call)
    view = ServerView(servers, settings.cluster, settings.place, time.monotonic)
    nodes = runner.cache.store(NODES)
    runner.add(NodeReconciler(api, nodes, view, events))
    runner.add(ServerPoll(nodes, view, events, lambda key: runner.wake("nodes", key)))


def _add_load_balancers(
    runner: Runner, api: KubernetesClient, project: Project, settings: load_balancing.Settings, events: Recorder
) -> None:
    load_balancers = count_calls(project.load_balancers, "load_balancers", runner.metrics.record_call)
    network = count_calls(project.network, "network", runner.metrics.record_call)
    services, slices = runner.cache.store(SERVICES), runner.cache.store(ENDPOINT_SLICES)
    slices.add_index(BY_SERVICE, index_slice)
    executor, targets = Executor(load_balancers, network), TargetNodes(runner.cache.store(NODES))
    reconciler = LoadBalancerReconciler(
        api, services, targets, slices, load_balancers, network, settings, events, executor
    )
    wake = partial(runner.wake, reconciler.name)
    runner.add(reconciler)
    runner.add(NodeChanges(targets, reconciler.affected, wake))
    runner.add(OrphanCollector(reconciler, api, executor, wake))


def _add_volumes(
    runner: Runner, api: KubernetesClient, volumes: Volumes | None, settings: Settings, events: Recorder
) -> None:
    if volumes is None:
        log.warning("no storage classes and no reclaim policies of volumes: this cloud has no Cinder")
        return
    cinder, stores = count_calls(volumes, "volumes", runner.metrics.record_call), runner.cache.store
    runner.add(ClassReconciler(api, cinder, events))
    runner.add(volume_policies(stores(PERSISTENT_VOLUMES), cinder, settings.cluster, events))
    runner.add(snapshot_policies(stores(SNAPSHOT_CONTENTS), cinder, settings.cluster, events))


def load_balancer_settings(project: Project, cluster: str, provider: str = "") -> load_balancing.Settings | None:
    """Settings of the cluster's load balancers; None, with a log message, when it cannot have any."""
    cluster_network = project.network.cluster_network(cluster)
    if cluster_network is None:
        log.warning("no load balancers: the project has no network of cluster %r", cluster)
        return None
    try:
        return load_balancing.settings_for(cluster, cluster_network, project.load_balancers.providers(), provider)
    except BadInput as error:
        log.warning("no load balancers: %s", error)
        return None


def _run_without_cloud(without_cloud: Runner, stop: Event, port: int) -> bool:
    """Run until `stop`; False when a thread has died."""

    def is_alive() -> bool:
        return without_cloud.cache.alive() and without_cloud.alive()

    with serve(Endpoints(is_alive, without_cloud.cache.ready, without_cloud.metrics), port):
        while is_alive() and not stop.wait(ALIVE_EVERY):
            pass
        return stop.is_set()


@click.command(name=NAME)
@click.option("--kubeconfig", type=FILE, required=True, help="Kubeconfig for the cluster's API.")
@click.option("--clouds", type=PATH, required=True, help="A clouds.yaml; without the file, there is no cloud.")
@click.option("--cloud", default="moorage", show_default=True, help="The entry of clouds.yaml.")
@click.option("--cluster", required=True, help="The cluster's name in its servers' metadata.")
@click.option("--node-cidr", required=True, help="The address range of the nodes, for their certificates.")
@click.option("--regional-ids", is_flag=True, help="Put the region into the provider IDs of Nodes.")
@click.option("--provider", default="", help="Octavia's provider for load balancers  [default: amphora, else ovn]")
@click.option(
    "--port", default=PORT, show_default=True, help="Port of /healthz, /readyz and /metrics, on the loopback interface."
)
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning"]))
@click.pass_obj
def command(
    adapters: Adapters,
    kubeconfig: Path,
    clouds: Path,
    cloud: str,
    cluster: str,
    node_cidr: str,
    regional_ids: bool,
    provider: str,
    port: int,
    log_level: str,
) -> int:
    """Connect a Kubernetes cluster to the OpenStack cloud that it runs on, and approve kubelets' certificates."""
    log_json(log_level)
    stop = stop_on_sigterm()
    api = adapters.kube(kubeconfig)
    without_cloud = start_without_cloud(api, node_cidr, Metrics(), stop)
    if not clouds.exists():
        return os.EX_OK if _run_without_cloud(without_cloud, stop, port) else os.EX_TEMPFAIL
    events = Recorder(api, NAME, time.monotonic)
    watch = CredentialWatch(api, events, clouds, adapters.check(clouds, cloud))

    def begin() -> Controller:
        project = adapters.project(clouds, cloud)
        me = f"{socket.gethostname()}_{uuid4().hex[:8]}"
        settings = Settings(cluster, Place(project.region, regional_ids), me, port)
        return compose(api, project, settings, load_balancer_settings(project, cluster, provider), watch, without_cloud)

    controller = until_accepted(watch, begin, stop)
    return os.EX_OK if controller is None or controller.run(stop) else os.EX_TEMPFAIL
