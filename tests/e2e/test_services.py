"""What a cluster survives of its cloud: services that die while it runs, and while it is made."""

from __future__ import annotations

import json
import os
import signal

import pytest

import rows
from cluster import RunCluster, shown
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = RunCluster.NAME
GROUPS = {
    "the databases": ["mariadb"],
    "what is asked in passing": ["keystone", "placement", "glance"],
    "nova": ["nova"],
    "neutron": ["neutron"],
    "heat": ["heat"],
    "the network's databases": ["ovn-northbound", "ovn-southbound", "ovsdb"],
    "the network's programs": ["ovn-northd", "ovn-controller", "ovs-vswitchd"],
}


def kill(cloud, names):
    before = cloud.programs()
    for name in names:
        os.kill(before[name]["pid"], signal.SIGKILL)


def ill(cloud):
    return [name for name, row in cloud.programs().items() if row["health"] != "ready"]


@pytest.mark.faults
@pytest.mark.usefixtures("cluster")
def test_cluster_runs_while_each_cloud_program_dies(cloud):
    servers = cloud.run("openstack", "--os-cloud", "moorage", "server", "list", "-f", "json").stdout
    for name in cloud.programs():
        kill(cloud, [name])
        until(lambda: ill(cloud), lambda found: not found, seconds=90)
        found = shown(cloud, NAME)
        assert found["status"] == "ready", f"after {name} died: {found['reason']}"
    assert cloud.run("openstack", "--os-cloud", "moorage", "server", "list", "-f", "json").stdout == servers
    cloud.run("kubectl", "run", "after", "--image=moorage.local/pause:1", "--restart=Never")
    cloud.run("kubectl", "wait", "pod/after", "--for=condition=Ready", "--timeout=60s", timeout=70)


@pytest.fixture
def gone_afterwards(cloud):
    """The cluster that a test makes is deleted at its end, well or not."""
    yield
    cloud.moorage("--cloud", "moorage", "cluster", "delete", "shaken", "--yes", timeout=240)


def make(cloud, names=()):
    """Make the cluster; the programs die when the first server is asked for: network and server are under way.

    Returns the exit code and what was said.
    """
    left = list(names)

    def look(_, line):
        if "waiting for Nova" in line and left:
            kill(cloud, left)
            left.clear()

    return watched(cloud, look)


def watched(cloud, look):
    """Make the cluster, each line of its progress shown; the exit code and what was said."""
    return cloud.progress(look, "--cloud", "moorage", "cluster", "create", "shaken", "--workers", "1")


@pytest.mark.usefixtures("gone_afterwards")
@pytest.mark.parametrize("name", [pytest.param("router_interface", marks=pytest.mark.faults), "server"])
def test_create_recovers_from_heat_killed_before_recording_a_resource(cloud, name):
    """It exists, and Heat does not know: the subnet on its router, the server on its port; "server" is the worker's."""
    with rows.asked(cloud) as database:
        heat, begun = cloud.programs()["heat"]["pid"], []

        def look(_, line):
            if "requesting a network" in line and not begun:
                begun.append(until(lambda: under_way(database, name), seconds=60, pause=0.02))
                rows.kill_where_it_writes(database, "SELECT id FROM heat.resource WHERE id = %s", begun, heat)

        code, reported = watched(cloud, look)
    assert code == 0, reported
    assert "repairing the node group" in reported or "recreating the cluster" in reported, reported
    found = shown(cloud, "shaken")
    assert found["status"] == "ready", found["reason"]
    servers = cloud.run("openstack", "--os-cloud", "moorage", "server", "list", "--name", "^shaken-", "-f", "json")
    assert sorted(server["Name"] for server in json.loads(servers.stdout)) == [node["name"] for node in found["nodes"]]


def under_way(database, name):
    """The row of a resource that Heat has asked for, and of which it has no id yet."""
    database.execute("SELECT id, status, nova_instance FROM heat.resource WHERE name = %s", [name])
    return next((id for id, status, known in database.fetchall() if status == "IN_PROGRESS" and not known), None)


@pytest.mark.faults
@pytest.mark.usefixtures("gone_afterwards")
@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
def test_create_cluster_while_cloud_programs_die(cloud, names):
    """At once or, when the interruption of a service looks like a mistake of the user, after following the hint."""
    code, reported = make(cloud, names)
    if code != 0:
        print(reported)
        assert "moorage cluster delete shaken" in reported, "it must say what to do"
        cloud.moorage("--cloud", "moorage", "cluster", "delete", "shaken", "--yes", timeout=240)
        code, reported = make(cloud)
    assert code == 0, reported
    found = shown(cloud, "shaken")
    assert found["status"] == "ready", found["reason"]
