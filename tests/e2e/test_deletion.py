"""Deleting a cluster with a dead API deletes all resources that it owns."""

from __future__ import annotations

import json

import pytest

from moorage.cloud.openstack.cloud import OpenStackCloud
from moorage.cloud.port.load_balancers import LoadBalancer
from moorage.cloud.port.volumes import BUSY, NewVolume
from moorage.model.ownership import (
    CLUSTER_MARK,
    RECLAIM_MARK,
    cluster_tag,
    service_description,
    service_tag,
)
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]

NAME = "doomed"
MINE = {CLUSTER_MARK: NAME}


def moorage(cloud, *words, **more):
    return cloud.moorage("--cloud", "moorage", "cluster", *words, **more)


@pytest.fixture
def project(cloud, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds))
    return OpenStackCloud.connect("moorage")


def store(volumes, name, metadata, server=""):
    id = volumes.create(NewVolume(name, 1, metadata=metadata)).id
    until(lambda: volumes.get(id), lambda found: found.status not in BUSY)
    if server:
        volumes.attach(server, id)
        until(lambda: volumes.get(id), lambda found: found.status == "in-use")
    return id


def remove(volumes, id):
    volumes.delete(id)
    until(lambda: volumes.get(id), lambda found: found is None)


def balance(project):
    home, tag = project.network.cluster_network(NAME), service_tag(NAME, "default", "web")
    made = project.load_balancers.create(LoadBalancer(tag, "ovn", tags=(tag, cluster_tag(NAME)), subnet=home.subnet.id))
    until(lambda: project.load_balancers.status(made.id), lambda status: status == "ACTIVE")
    project.network.create_floating_ip(home.external_network, "", made.port, service_description(NAME, "default/web"))


def left(project):
    """Resources with the cluster's marks, except those of Heat, which the command itself verifies."""
    described = service_description(NAME, "default/web")
    return (
        project.load_balancers.tagged(cluster_tag(NAME)),
        [held for held in project.network.floating_ips() if held.description == described],
        [taken.name for taken in project.volumes.snapshots() if taken.metadata.get(CLUSTER_MARK) == NAME],
        sorted(volume.name for volume in project.volumes.list() if volume.metadata.get(CLUSTER_MARK) == NAME),
    )


def test_delete_cluster_with_dead_api_deletes_owned_resources(cloud, project):
    moorage(cloud, "create", NAME, "--workers", "1", timeout=300)
    servers = {server.metadata["moorage_role"]: server.id for server in project.servers.list(NAME)}
    balance(project)
    used = store(project.volumes, "used", MINE, servers["worker"])
    store(project.volumes, "precious", {**MINE, RECLAIM_MARK: "Retain"}, servers["worker"])
    theirs = store(project.volumes, "theirs", {CLUSTER_MARK: "another"})
    taken = project.volumes.create_snapshot("daily", used, True, MINE)
    until(lambda: project.volumes.get_snapshot(taken.id), lambda found: found.status == "available")
    project.rest.post("compute", f"/servers/{servers['control-plane']}/action", {"os-stop": None})
    done = json.loads(moorage(cloud, "delete", NAME, "--yes", "-o", "json", timeout=300).stdout)
    assert [(kept["kind"], kept["name"]) for kept in done["kept"]] == [("volume", "precious")]
    assert left(project) == ([], [], [], ["precious"])
    assert moorage(cloud, "delete", NAME, "--yes", check=False).returncode == 3
    assert project.volumes.get(theirs).status == "available"
    for id in (theirs, done["kept"][0]["id"]):
        remove(project.volumes, id)


def test_delete_cluster_with_keep_volumes(cloud, project):
    moorage(cloud, "create", NAME, "--workers", "1", timeout=300)
    worker = next(server.id for server in project.servers.list(NAME) if server.metadata["moorage_role"] == "worker")
    id = store(project.volumes, "used", MINE, worker)
    message = moorage(cloud, "delete", NAME, "--yes", "--keep-volumes", timeout=300).stdout
    assert id in message
    kept = until(lambda: project.volumes.get(id), lambda found: found.status == "available")
    assert kept.metadata[RECLAIM_MARK] == "Retain"
    remove(project.volumes, id)
