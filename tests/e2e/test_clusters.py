"""Clusters as a user creates, shows and deletes them."""

from __future__ import annotations

import json
import uuid

import pytest

from cluster import RunCluster, kill_at_line, shown
from images import MIRROR
from waiting import until

pytestmark = pytest.mark.e2e

NAME = RunCluster.NAME


def clusters(cloud):
    return json.loads(cloud.moorage("--cloud", "moorage", "cluster", "list", "-o", "json").stdout)


def kubectl(cloud, *words, timeout=60):
    return cloud.run("kubectl", *words, timeout=timeout).stdout


def test_create_cluster_is_ready_and_listed(cloud, cluster):
    words = ["--workers", str(RunCluster.WORKERS), "--registry-mirror", MIRROR, "--output", "json"]
    created = cloud.moorage("--cloud", "moorage", "cluster", "create", NAME, *words)
    assert json.loads(created.stdout)["name"] == NAME
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


def test_show_lists_every_node(cloud, cluster):
    assert shown(cloud, NAME)["name"] == NAME
    nodes = json.loads(cloud.moorage("--cloud", "moorage", "node", "list", NAME, "-o", "json").stdout)
    assert len(nodes) == 3


def test_create_with_other_parameters_conflicts(cloud, cluster):
    again = cloud.moorage(
        "--cloud", "moorage", "cluster", "create", NAME, "--workers", "1", "--no-wait", check=False, timeout=60
    )
    assert again.returncode == 4, again.stderr
    assert NAME in again.stderr


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (["--flavor", "m1.nodes"], "m1.node"),
        (["--image", "no-such-image"], "no-such-image"),
        (["--external-network", "publik"], "public"),
        (["--workers", "0"], "workers"),
        (["--pod-cidr", "10.96.0.0/16"], "10.96.0.0/16"),
        (["--workers", "400"], "instances"),
    ],
)
def test_create_with_bad_input_creates_nothing(cloud, options, reported):
    before = clusters(cloud)
    refused = cloud.moorage("--cloud", "moorage", "cluster", "create", "bad", *options, check=False, timeout=60)
    assert refused.returncode in (2, 6), refused.stderr
    assert reported in refused.stderr
    assert clusters(cloud) == before


def test_show_missing_cluster_is_not_found(cloud):
    for words in (["show", "missing"], ["kubeconfig", "missing"], ["delete", "missing", "--yes"]):
        gone = cloud.moorage("--cloud", "moorage", "cluster", *words, check=False)
        assert gone.returncode == 3, gone.stderr
        assert "missing" in gone.stderr


def test_create_killed_at_every_step_resumes_and_delete_leaves_nothing(cloud):
    words = ["--cloud", "moorage", "cluster", "create", "phoenix", "--workers", "1"]
    for number in range(1, 6):
        kill_at_line(cloud, number, *words)
    cloud.moorage(*words, timeout=300)
    assert "phoenix" in [entry["name"] for entry in clusters(cloud)]
    cloud.moorage("--cloud", "moorage", "cluster", "delete", "phoenix", "--yes", timeout=180)
    assert "phoenix" not in [entry["name"] for entry in clusters(cloud)]


def test_delete_incomplete_cluster(cloud, run_cluster):
    words = ["--cloud", "moorage", "cluster", "create", "half", "--workers", "1", "--no-wait"]
    cloud.moorage(*words, timeout=240)
    network = run_cluster.sdk.network
    until(lambda: list(network.networks(name="half")))
    cloud.moorage("--cloud", "moorage", "cluster", "delete", "half", "--yes", timeout=180)
    assert list(network.networks(name="half")) == []


def test_delete_cluster_with_resources_unknown_to_heat(cloud, run_cluster):
    """Resources that Heat does not know: a server, a floating IP, a network with its subnet on a router; and a port
    that names a deleted server as its owner.
    """
    cloud.moorage("--cloud", "moorage", "cluster", "create", "forgot", "--workers", "1", "--no-wait", timeout=240)
    sdk = run_cluster.sdk
    network = until(lambda: list(sdk.network.networks(name="forgot")))[0].id
    until(lambda: list(sdk.network.subnets(network_id=network)))
    server = sdk.compute.create_server(
        name="forgot-workers-1-9",
        image_id=next(sdk.image.images()).id,
        flavor_id=sdk.compute.find_flavor("m1.small").id,
        networks=[{"uuid": network}],
        metadata={"moorage_cluster": "forgot"},
    )
    sdk.compute.wait_for_server(server, wait=300)
    owned = {"device_owner": "compute:nova", "device_id": str(uuid.uuid4())}
    sdk.network.create_port(network_id=network, name="dangling", **owned)
    own = {"description": "Moorage cluster forgot"}
    sdk.network.create_ip(floating_network_id=sdk.network.find_network("public").id, **own)
    forgotten = sdk.network.create_network(name="forgotten", **own)
    subnet = {"network_id": forgotten.id, "ip_version": 4, "cidr": "10.9.0.0/24"}
    subnet = sdk.network.create_subnet(name="forgotten", **subnet)
    router = sdk.network.create_router(name="forgotten", **own)
    sdk.network.add_interface_to_router(router, subnet_id=subnet.id)
    reported = cloud.moorage("--cloud", "moorage", "cluster", "delete", "forgot", "--yes", timeout=240)
    assert "forgot-workers-1-9" in reported.stderr
    assert "deletion failed" not in reported.stderr, "it is freed before Heat gives up"
    listed = sdk.compute.servers, sdk.network.ports, sdk.network.networks, sdk.network.routers, sdk.network.ips
    for kind in listed:
        left = str([found.to_dict() for found in kind()])
        assert network not in left
        assert "forgot" not in left
