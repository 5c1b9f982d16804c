"""Bring the demo up, from any state."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moorage.catalog import database, hello, record
from moorage.catalog.build import Report, build
from moorage.catalog.kubectl import kubectl
from moorage.catalog.names import CLOUD, CLUSTER, GATEWAY_CIDR, REGISTRY, REGISTRY_HOST, WORKERS
from moorage.catalog.record import Database, Demo
from moorage.cloud.port.cloud import Cloud
from moorage.config import Paths
from moorage.kube.kubeconfig import KubeAccess
from moorage.model.cluster import Cluster, ClusterSpec, NodeGroup
from moorage.model.errors import Failed

if TYPE_CHECKING:
    from moorage.clusters.observer import ConnectKube
    from moorage.local.cloud import LocalCloud

ALREADY_RUNNING = "everything was running"
CHECK_TIMEOUT = 2.0  # seconds for each check of a running demo


@dataclass(frozen=True)
class Site:
    """Where the demo runs. `local` returns the local cloud, with what is built so far."""

    paths: Paths
    local: Callable[[], LocalCloud]
    connect_cloud: Callable[[str | None], Cloud]
    connect_kube: ConnectKube


def running(site: Site) -> Demo | None:
    """The demo, if all of it runs: every service is ready, the application and the database answer; else None."""
    began = time.monotonic()
    cloud = site.local()
    noted = record.read(site.paths.state)
    if noted is None or not cloud.running:
        return None
    try:
        asked = _ask(cloud, *noted)
    except (OSError, Failed):
        return None
    return asked and replace(asked, took={ALREADY_RUNNING: time.monotonic() - began})


def _ask(cloud: LocalCloud, known: Demo, password: str) -> Demo | None:
    """Check everything in parallel.

    None when a service or a node is missing. Raises OSError and Failed as the checks do.
    """
    where = known.database
    with ThreadPoolExecutor(2) as pool:
        services = pool.submit(cloud.status)
        answer = pool.submit(hello.ask, known.application, CHECK_TIMEOUT)
        rows = database.count(database.Login(where.host, password, where.port), CHECK_TIMEOUT)
    if any(service.health != "ready" for service in services.result()):
        return None
    if sum(name.startswith(f"{CLUSTER}-") for name in cloud.machines()) <= WORKERS:
        return None
    return replace(known, answer=answer.result(), database=replace(where, rows=rows))


def bring_up(site: Site, report: Report) -> Demo:
    """Do what is not done yet, from the programs to a row in the database."""
    clock = _Clock()
    if build(site.paths, site.local, database.FOLDER, report):
        clock.lap("Kubernetes, the node image, the database's image")
    site.local().up(report)
    clock.lap("the cloud")
    cloud = site.connect_cloud(CLOUD)
    made, access = _cluster(site, cloud, report)
    clock.lap("the cluster")
    application = hello.url(made.api_url.removeprefix("https://").split(":")[0])
    with kubectl(site.paths.cache, access) as run:
        report("starting the application and the database")
        password = database.password(run)
        run("apply", f"--filename={hello.MANIFEST}", f"--filename={database.MANIFEST}")
        answer = hello.await_answer(application, report)
        clock.lap("the application")
        login = database.Login(database.await_address(run, report), password)
    rows = database.await_row(login, report)
    clock.lap("the database")
    where = Database(login.host, login.port, rows)
    result = Demo(CLOUD, cloud.identity.project, CLUSTER, made.api_url, application, answer, where, clock.laps)
    record.write(site.paths.state, result, password)
    return result


def _cluster(site: Site, cloud: Cloud, report: Report) -> tuple[Cluster, KubeAccess]:
    """The cluster and its kubeconfig entry; meanwhile the examples' images are pushed."""
    from moorage.clusters import reconcile
    from moorage.kube import kubeconfig

    connect, data = site.connect_kube, site.paths.data
    mirrors = {REGISTRY_HOST: f"http://{REGISTRY}"}
    workers = NodeGroup(count=WORKERS)
    spec = ClusterSpec(CLUSTER, (workers,), registry_mirrors=mirrors, node_port_cidr=GATEWAY_CIDR)
    with ThreadPoolExecutor(2) as pool:
        pushed = [pool.submit(hello.push_image), pool.submit(database.push_image, site.paths.cache)]
        made = reconcile.create(cloud, connect, data, spec, report)
        for push in pushed:
            push.result()
    access = reconcile.access(cloud, connect, data, CLUSTER)
    path = kubeconfig.default_path(os.environ)
    kubeconfig.write(path, kubeconfig.merge(kubeconfig.read(path), CLUSTER, access))
    return made, access


class _Clock:
    def __init__(self) -> None:
        self.since = time.monotonic()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self.since, 1)
        self.since = now
