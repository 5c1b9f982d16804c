"""Images of nodes, updated in place as a user does it: killed in the middle, not bootable, rolled back."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from cluster import RunCluster, kill_at_line
from moorage.config import Paths
from moorage.image.node_image import find_image
from moorage.model.nodes import IMAGE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400), pytest.mark.usefixtures("emptied")]

NAME = RunCluster.NAME
CONTROL_PLANE = f"{NAME}-control-plane-0"


@pytest.fixture
def own_image():
    return find_image(Paths.from_environment(os.environ).cache)


@pytest.fixture
def images(cluster, own_image, tmp_path):
    """Two more images in Glance: the cluster's own under another version, and one that cannot be started."""
    zeros = tmp_path / "zeros"
    zeros.write_bytes(b"hsqs" + bytes(8192))
    files = {"next": own_image.squashfs, "zeros": zeros}
    made = [upload(cluster.sdk.image, own_image.properties, *entry) for entry in files.items()]
    yield
    for image in made:
        cluster.sdk.image.delete_image(image)


def upload(glance, properties, version, file):
    own = {"moorage_version": version, "moorage_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    kind = {"disk_format": "raw", "container_format": "bare", "validate_checksum": False}
    with file.open("rb") as data:  # given a name, the SDK opens the file and never closes it
        return glance.create_image(f"moorage-{version}", data=data, **kind, **{**properties, **own})


def node(cloud, verb, *words, check=True):
    command = ("--cloud", "moorage", "node", verb, NAME, *words, "--yes")
    return cloud.moorage(*command, check=check, timeout=2400)


@pytest.fixture
def worker(cluster):
    """The name of a worker: other tests may have replaced some."""
    return cluster.object("nodes", "-l", "moorage.io/node-group=workers")["items"][0]["metadata"]["name"]


def running(cluster, *names):
    return [cluster.object("node", name)["metadata"]["annotations"][IMAGE] for name in names]


def test_images_are_updated_taken_back_and_rolled_back(cloud, cluster, worker, own_image, images):
    own = own_image.version
    to_next = ("--image", "moorage-next")
    kill_at_line(cloud, 2, "--cloud", "moorage", "node", "update", NAME, worker, "--yes", *to_next)
    node(cloud, "update", worker, CONTROL_PLANE, *to_next)
    assert running(cluster, CONTROL_PLANE, worker) == ["next", "next"]
    assert "unschedulable" not in cluster.object("node", worker)["spec"]

    failed = node(cloud, "update", worker, "--image", "moorage-zeros", "--no-drain", check=False)
    assert failed.returncode == 1
    assert f"{worker} did not come up with zeros; it runs next again" in failed.stderr
    refused = node(cloud, "rollback", worker, check=False)
    assert "no other image that was healthy" in refused.stderr, "the former one made room for the one that failed"
    node(cloud, "rollback", CONTROL_PLANE)
    assert running(cluster, CONTROL_PLANE, worker) == [own, "next"]

    listed = json.loads(cluster.kubectl("get", "pods,secrets", "-n", "kube-system", "-o", "json"))["items"]
    names = [found["metadata"]["name"] for found in listed]
    assert [name for name in names if name.startswith(("moorage-update", "moorage-switch", "moorage-rollback"))] == []
