"""What a running cluster survives: its nodes' ends and beginnings."""

from __future__ import annotations

import json
from functools import partial

import pytest

import waiting
from cluster import shown
from inside import Inside

pytestmark = pytest.mark.e2e
until = partial(waiting.until, seconds=120)

NAME = "faults"
WORKER = f"{NAME}-default-worker-0"


def kubectl(cloud, *words, timeout=60, check=True):
    return cloud.run("kubectl", *words, timeout=timeout, check=check).stdout


@pytest.fixture(scope="module")
def cluster(cloud):
    """One control-plane node and one worker, with a pod on the worker."""
    create(cloud)
    cloud.moorage("--cloud", "moorage", "cluster", "kubeconfig", NAME)
    kubectl(cloud, "create", "deployment", "held", "--image=moorage.local/pause:1")
    until(lambda: pods_run(cloud))
    yield cloud
    cloud.moorage("--cloud", "moorage", "cluster", "delete", NAME, "--yes", timeout=180)


def create(cloud):
    return cloud.moorage("--cloud", "moorage", "cluster", "create", NAME, "--workers", "1", timeout=300)


def pods_run(cloud):
    shown = kubectl(cloud, "get", "pods", "-A", "-o", "json", check=False)
    items = json.loads(shown)["items"] if shown else []
    return len(items) >= 2 and all(
        all(state["ready"] for state in pod["status"].get("containerStatuses", [{"ready": False}])) for pod in items
    )


def ready(cloud, node):
    shown = kubectl(cloud, "get", "node", node, "-o", "json", check=False)
    conditions = json.loads(shown)["status"]["conditions"] if shown else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def openstack(cloud, *words):
    return cloud.run("openstack", "--os-cloud", "moorage", *words, timeout=120).stdout.strip()


def server(cloud, *words):
    return openstack(cloud, "server", *words)


def stack(cloud, *words):
    return openstack(cloud, "stack", *words)


def inside(cloud, name):
    """A look into a server, once there is one of that name."""
    listed = ("list", "--name", f"^{name}$", "-f", "value", "-c", "ID")
    return until(lambda: Inside.of(cloud.state, server(cloud, *listed)))


def started(cloud, node):
    """When Kubernetes on the node last began, by the node's own pods."""
    pods = json.loads(kubectl(cloud, "get", "pods", "-o", "json"))["items"]
    states = [
        state for pod in pods if pod["spec"].get("nodeName") == node for state in pod["status"]["containerStatuses"]
    ]
    return [state["state"].get("running", {}).get("startedAt") for state in states]


@pytest.mark.parametrize("how", [("reboot",), ("reboot", "--hard")])
def test_a_node_comes_back_with_its_pods(cluster, how):
    before = started(cluster, WORKER)
    assert before
    server(cluster, *how, "--wait", WORKER)
    until(lambda: pods_run(cluster) and started(cluster, WORKER) != before)
    assert ready(cluster, WORKER)


def test_a_stopped_node_comes_back_when_it_is_started(cluster):
    server(cluster, "stop", WORKER)
    until(lambda: not ready(cluster, WORKER))
    server(cluster, "start", WORKER)
    until(lambda: ready(cluster, WORKER) and pods_run(cluster))


def test_the_control_plane_comes_back_with_what_it_knew(cluster):
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=a=b")
    server(cluster, "reboot", "--hard", "--wait", f"{NAME}-control-plane-0")
    until(lambda: "kept" in kubectl(cluster, "get", "configmaps", "-o", "name", check=False))
    until(lambda: ready(cluster, f"{NAME}-control-plane-0") and pods_run(cluster))


def test_a_worker_whose_server_was_deleted_is_told_and_made_anew(cluster):
    def running():
        return {node["name"] for node in shown(cluster, NAME)["nodes"] if node["ready"]}

    before = running()
    server(cluster, "delete", "--wait", WORKER)
    until(lambda: kubectl(cluster, "get", "node", WORKER, check=False) == "")
    seen = shown(cluster, NAME)
    assert seen["status"] == "degraded"
    assert f"server {WORKER} is gone" in seen["reason"]
    said = create(cluster).stderr
    assert f"server {WORKER} is gone: having Heat make that anew" in said
    assert running() == before
    until(lambda: pods_run(cluster))
    assert "kept" in kubectl(cluster, "get", "configmaps", "-o", "name"), "the cluster is the same"
    assert "is gone" not in create(cluster).stderr


def test_a_worker_that_heat_replaces_waits_for_the_former_ones_node_to_go(cluster):
    """Which goes late, because the controller was away; a kubelet that took it over would lose it then, for good."""
    control_plane = inside(cluster, f"{NAME}-control-plane-0")
    control_plane.run("systemctl", "stop", "moorage-controller")
    nested = json.loads(stack(cluster, "resource", "list", NAME, "-n", "3", "-f", "json", "--filter", "name=0"))
    (workers,) = {row["stack_name"] for row in nested}
    server(cluster, "delete", "--wait", WORKER)
    stack(cluster, "resource", "mark", "unhealthy", workers, "0")
    stack(cluster, "update", "--existing", NAME)
    machine = inside(cluster, WORKER).machine
    until(lambda: "waiting for its name to be free" in machine.console.read_text(errors="replace"))
    control_plane.run("systemctl", "start", "moorage-controller")
    wanted = ("get", "node", WORKER, "-o", "jsonpath={.spec.providerID}")
    until(lambda: kubectl(cluster, *wanted, check=False), lambda found: found == f"openstack:///{machine.id}")
    until(lambda: ready(cluster, WORKER) and pods_run(cluster))
