"""What a running cluster survives: its nodes' ends and beginnings."""

from __future__ import annotations

import json
from functools import partial

import pytest

import waiting
from cluster import RunCluster, shown

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("emptied")]
until = partial(waiting.until, seconds=120)

NAME = RunCluster.NAME
HELD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: held}
spec:
  selector: {matchLabels: {app: held}}
  template:
    metadata: {labels: {app: held}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      containers: [{name: held, image: "moorage.local/pause:1"}]
"""


def kubectl(cloud, *words, timeout=60, check=True):
    return cloud.run("kubectl", *words, timeout=timeout, check=check).stdout


@pytest.fixture
def worker(cloud, run_cluster):
    """The name of the run's cluster's first worker: a replaced one has another name."""
    run_cluster.get()
    return until(lambda: workers(cloud))[0]


def workers(cloud):
    """The names of the workers that are Ready."""
    return sorted(node["name"] for node in shown(cloud, NAME)["nodes"] if node["ready"] and node["role"] == "worker")


@pytest.fixture
def cluster(cloud, run_cluster, worker):
    """The run's cluster, with a pod on the worker."""
    run_cluster.get().apply(HELD % worker)
    until(lambda: pods_run(cloud))
    return cloud


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


@pytest.fixture
def compute(run_cluster):
    return run_cluster.sdk.compute


def reboot(compute, name, how):
    server = compute.find_server(name)
    compute.reboot_server(server, how)
    compute.wait_for_server(compute.get_server(server.id), wait=300)  # the one found above is ACTIVE already


def delete(compute, name):
    server = compute.find_server(name)
    compute.delete_server(server)
    compute.wait_for_delete(server, wait=300)


def started(cloud, node):
    """When Kubernetes on the node last began, by the node's own pods."""
    pods = json.loads(kubectl(cloud, "get", "pods", "-o", "json"))["items"]
    states = [
        state for pod in pods if pod["spec"].get("nodeName") == node for state in pod["status"]["containerStatuses"]
    ]
    return [state["state"].get("running", {}).get("startedAt") for state in states]


@pytest.mark.parametrize("how", ["SOFT", "HARD"])
def test_rebooted_node_runs_its_pods_again(cluster, compute, worker, how):
    before = started(cluster, worker)
    assert before
    reboot(compute, worker, how)
    until(lambda: pods_run(cluster) and started(cluster, worker) != before)
    assert ready(cluster, worker)


def test_rebooted_control_plane_keeps_objects(cluster, compute):
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=a=b")
    reboot(compute, f"{NAME}-control-plane-0", "HARD")
    until(lambda: "kept" in kubectl(cluster, "get", "configmaps", "-o", "name", check=False))
    until(lambda: ready(cluster, f"{NAME}-control-plane-0") and pods_run(cluster))


def test_renamed_server_is_the_same_server(cluster, compute, run_cluster, worker):
    before, server = workers(cluster), compute.find_server(worker)
    compute.update_server(server, name="web-1")
    seen = shown(cluster, NAME)
    assert (seen["status"], seen["reason"]) == ("ready", None)
    assert workers(cluster) == before
    assert "is gone" not in run_cluster.create().stderr
    assert compute.get_server(server.id).status == "ACTIVE"
    compute.update_server(server, name=worker)


def test_deleted_worker_is_reported_and_replaced(cluster, compute, run_cluster, worker):
    kubectl(cluster, "create", "configmap", "kept-too")
    before = workers(cluster)
    delete(compute, worker)
    until(lambda: kubectl(cluster, "get", "node", worker, check=False) == "")
    seen = shown(cluster, NAME)
    assert seen["status"] == "degraded"
    assert f"server {worker} is gone" in seen["reason"]
    reported = run_cluster.create().stderr
    assert f"server {worker} is gone: replacing it" in reported
    after = workers(cluster)
    assert len(after) == len(before)
    assert set(before) - set(after) == {worker}, "the others are the same, and its name is not used again"
    run_cluster.get().apply(HELD % after[0])
    until(lambda: pods_run(cluster))
    assert "kept-too" in kubectl(cluster, "get", "configmaps", "-o", "name"), "the cluster is the same"
    assert "is gone" not in run_cluster.create().stderr
