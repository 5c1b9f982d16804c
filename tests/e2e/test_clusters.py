"""Clusters as a person makes, looks at and deletes them."""

from __future__ import annotations

import json
import signal
import uuid

import pytest

from cluster import shown
from waiting import until

pytestmark = pytest.mark.e2e

NAME = "e2e"


def clusters(cloud):
    return json.loads(cloud.moorage("--cloud", "moorage", "cluster", "list", "-o", "json").stdout)


def kubectl(cloud, *words, timeout=60):
    return cloud.run("kubectl", *words, timeout=timeout).stdout


@pytest.fixture(scope="module")
def cluster(cloud):
    """One control-plane node and two workers, deleted at the end by the command that people use."""
    created = cloud.moorage(
        "--cloud", "moorage", "cluster", "create", NAME, "--workers", "2", "--output", "json", timeout=300
    )
    yield json.loads(created.stdout)
    cloud.moorage("--cloud", "moorage", "cluster", "delete", NAME, "--yes", timeout=180)


def test_a_created_cluster_is_ready_and_listed(cloud, cluster):
    assert cluster["name"] == NAME
    assert [entry["name"] for entry in clusters(cloud)] == [NAME]
    cloud.moorage("--cloud", "moorage", "cluster", "kubeconfig", NAME)
    nodes = json.loads(kubectl(cloud, "get", "nodes", "-o", "json"))["items"]
    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    assert len(ready) == 3
    assert set(ready.values()) == {"True"}


def test_show_says_every_node(cloud, cluster):
    assert shown(cloud, NAME)["name"] == NAME
    nodes = json.loads(cloud.moorage("--cloud", "moorage", "node", "list", NAME, "-o", "json").stdout)
    assert len(nodes) == 3


def test_a_taken_name_is_refused(cloud, cluster):
    again = cloud.moorage(
        "--cloud", "moorage", "cluster", "create", NAME, "--workers", "1", "--no-wait", check=False, timeout=60
    )
    assert again.returncode == 4, again.stderr
    assert NAME in again.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--flavor", "m1.nodes"], "m1.node"),
        (["--image", "no-such-image"], "no-such-image"),
        (["--external-network", "publik"], "public"),
        (["--workers", "0"], "workers"),
        (["--pod-cidr", "10.96.0.0/16"], "10.96.0.0/16"),
        (["--workers", "400"], "instances"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(cloud, options, said):
    before = clusters(cloud)
    refused = cloud.moorage("--cloud", "moorage", "cluster", "create", "bad", *options, check=False, timeout=60)
    assert refused.returncode in (2, 6), refused.stderr
    assert said in refused.stderr
    assert clusters(cloud) == before


def test_a_cluster_that_does_not_exist_is_said_so(cloud):
    for words in (["show", "nobody"], ["kubeconfig", "nobody"], ["delete", "nobody", "--yes"]):
        gone = cloud.moorage("--cloud", "moorage", "cluster", *words, check=False)
        assert gone.returncode == 3, gone.stderr
        assert "nobody" in gone.stderr


def kill_at_line(cloud, number, *words):
    """Run `moorage` and kill -9 it when it has printed `number` lines of progress; returns what it had said."""
    said = []

    def count(process, line):
        said.append(line)
        if len(said) == number:
            process.send_signal(signal.SIGKILL)

    cloud.progress(count, *words)
    return said


def test_create_goes_on_after_kill_9_at_every_step_and_delete_leaves_nothing(cloud):
    words = ["--cloud", "moorage", "cluster", "create", "phoenix", "--workers", "1"]
    for number in range(1, 5):
        kill_at_line(cloud, number, *words)
    cloud.moorage(*words, timeout=300)
    assert "phoenix" in [entry["name"] for entry in clusters(cloud)]
    cloud.moorage("--cloud", "moorage", "cluster", "delete", "phoenix", "--yes", timeout=180)
    assert "phoenix" not in [entry["name"] for entry in clusters(cloud)]


def test_a_half_made_cluster_can_be_deleted(cloud):
    words = ["--cloud", "moorage", "cluster", "create", "half", "--workers", "1", "--no-wait"]
    cloud.moorage(*words, timeout=60)
    until(lambda: listed(cloud, "network", "list", "--name", "half"))
    cloud.moorage("--cloud", "moorage", "cluster", "delete", "half", "--yes", timeout=180)
    left = cloud.run("openstack", "--os-cloud", "moorage", "network", "list", "-f", "value", "-c", "Name").stdout
    assert "half" not in left.split()


def test_what_heat_has_lost_goes_with_the_cluster(cloud):
    """What Heat never noted: a server, a floating IP, a network with its subnet on a router; and a port that says it is
    a server's which is gone."""
    cloud.moorage("--cloud", "moorage", "cluster", "create", "forgot", "--workers", "1", "--no-wait", timeout=60)
    openstack = ("openstack", "--os-cloud", "moorage")
    network = until(lambda: listed(cloud, "network", "list", "--name", "forgot"))[0]["ID"]
    until(lambda: listed(cloud, "subnet", "list", "--network", network))
    image = json.loads(cloud.run(*openstack, "image", "list", "-f", "json").stdout)[0]["ID"]
    server = ["--image", image, "--flavor", "m1.small", "--network", network, "--property", "moorage_cluster=forgot"]
    cloud.run(*openstack, "server", "create", *server, "--wait", "forgot-default-worker-9", timeout=120)
    owned = ["--network", network, "--device-owner", "compute:nova", "--device", str(uuid.uuid4())]
    cloud.run(*openstack, "port", "create", *owned, "dangling")
    mine = ("--description", "Moorage cluster forgot")
    cloud.run(*openstack, "floating", "ip", "create", *mine, "public")
    cloud.run(*openstack, "network", "create", *mine, "forgotten")
    cloud.run(*openstack, "subnet", "create", "--network", "forgotten", "--subnet-range", "10.9.0.0/24", "forgotten")
    cloud.run(*openstack, "router", "create", *mine, "forgotten")
    cloud.run(*openstack, "router", "add", "subnet", "forgotten", "forgotten")
    said = cloud.moorage("--cloud", "moorage", "cluster", "delete", "forgot", "--yes", timeout=240)
    assert "forgot-default-worker-9" in said.stderr
    assert "deletion failed" not in said.stderr, "it is freed before Heat gives up"
    for kind in (["server"], ["port"], ["network"], ["router"], ["floating", "ip"]):
        assert network not in (left := cloud.run(*openstack, *kind, "list", "--long", "-f", "value").stdout), left
        assert "forgot" not in left


def listed(cloud, *words):
    return json.loads(cloud.run("openstack", "--os-cloud", "moorage", *words, "-f", "json").stdout)
