"""What a running cluster survives: its nodes' ends and beginnings."""

from __future__ import annotations

import json
from functools import partial

import pytest

import waiting
from cluster import RunCluster, shown
from inside import Inside

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("emptied")]
until = partial(waiting.until, seconds=120)

NAME = RunCluster.NAME
WORKER = f"{NAME}-default-worker-0"
HELD = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: held}}
spec:
  selector: {{matchLabels: {{app: held}}}}
  template:
    metadata: {{labels: {{app: held}}}}
    spec:
      nodeSelector: {{kubernetes.io/hostname: {WORKER}}}
      containers: [{{name: held, image: "moorage.local/pause:1"}}]
"""


def kubectl(cloud, *words, timeout=60, check=True):
    return cloud.run("kubectl", *words, timeout=timeout, check=check).stdout


@pytest.fixture
def cluster(cloud, run_cluster):
    """The run's cluster, with a pod on the worker."""
    run_cluster.get().apply(HELD)
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


def stack(cloud, *words):
    """With the `openstack` program, as a user does."""
    return cloud.run("openstack", "--os-cloud", "moorage", "stack", *words, timeout=120).stdout.strip()


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


def inside(cloud, compute, name):
    """A look into a server, once there is one of that name."""
    return until(lambda: (found := compute.find_server(name)) and Inside.of(cloud.state, found.id))


def started(cloud, node):
    """When Kubernetes on the node last began, by the node's own pods."""
    pods = json.loads(kubectl(cloud, "get", "pods", "-o", "json"))["items"]
    states = [
        state for pod in pods if pod["spec"].get("nodeName") == node for state in pod["status"]["containerStatuses"]
    ]
    return [state["state"].get("running", {}).get("startedAt") for state in states]


@pytest.mark.parametrize("how", ["SOFT", "HARD"])
def test_rebooted_node_runs_its_pods_again(cluster, compute, how):
    before = started(cluster, WORKER)
    assert before
    reboot(compute, WORKER, how)
    until(lambda: pods_run(cluster) and started(cluster, WORKER) != before)
    assert ready(cluster, WORKER)


def test_rebooted_control_plane_keeps_objects(cluster, compute):
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=a=b")
    reboot(compute, f"{NAME}-control-plane-0", "HARD")
    until(lambda: "kept" in kubectl(cluster, "get", "configmaps", "-o", "name", check=False))
    until(lambda: ready(cluster, f"{NAME}-control-plane-0") and pods_run(cluster))


def test_deleted_worker_is_reported_and_replaced(cluster, compute, run_cluster):
    def running():
        return {node["name"] for node in shown(cluster, NAME)["nodes"] if node["ready"]}

    before = running()
    delete(compute, WORKER)
    until(lambda: kubectl(cluster, "get", "node", WORKER, check=False) == "")
    seen = shown(cluster, NAME)
    assert seen["status"] == "degraded"
    assert f"server {WORKER} is gone" in seen["reason"]
    reported = run_cluster.create().stderr
    assert f"server {WORKER} is gone: replacing it" in reported
    assert running() == before
    until(lambda: pods_run(cluster))
    assert "kept" in kubectl(cluster, "get", "configmaps", "-o", "name"), "the cluster is the same"
    assert "is gone" not in run_cluster.create().stderr


def test_replaced_worker_waits_for_deletion_of_old_node(cluster, compute):
    """It is deleted late, because the controller was stopped; a kubelet that took it over would lose it then,
    for good.
    """
    control_plane = inside(cluster, compute, f"{NAME}-control-plane-0")
    control_plane.run("systemctl", "stop", "moorage-controller")
    nested = json.loads(stack(cluster, "resource", "list", NAME, "-n", "3", "-f", "json", "--filter", "name=0"))
    (workers,) = {row["stack_name"] for row in nested}
    delete(compute, WORKER)
    stack(cluster, "resource", "mark", "unhealthy", workers, "0")
    stack(cluster, "update", "--existing", NAME)
    machine = inside(cluster, compute, WORKER).machine
    waiting, unstarted = "waiting for its name to be free", (FileNotFoundError,)
    until(lambda: waiting in machine.console.read_text(errors="replace"), yet=unstarted)
    control_plane.run("systemctl", "start", "moorage-controller")
    wanted = ("get", "node", WORKER, "-o", "jsonpath={.spec.providerID}")
    until(lambda: kubectl(cluster, *wanted, check=False), lambda found: found == f"openstack:///{machine.id}")
    until(lambda: ready(cluster, WORKER) and pods_run(cluster))
