"""Load balancers and volumes during faults: bad input, killed programs, an unreachable cloud, stopped and disconnected
nodes.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest

import waiting
from cluster import OUTSIDE, RunCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("emptied")]
until = partial(waiting.until, seconds=90)

NAME = RunCluster.NAME
CONTROL_PLANE = f"{NAME}-control-plane-0"
UNITS = (
    "moorage-controller",
    "moorage-csi-controller",
    "csi-provisioner",
    "csi-attacher",
    "csi-resizer",
    "csi-snapshotter",
    "snapshot-controller",
    "etcd",
)
CLASS = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %(name)s}
provisioner: cinder.csi.openstack.org
parameters: {%(parameters)s}
volumeBindingMode: Immediate
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %(name)s}
spec: {storageClassName: %(name)s, accessModes: [ReadWriteOnce], resources: {requests: {storage: %(size)s}}}
"""
REFUSED = """
apiVersion: v1
kind: Service
metadata:
  name: refused
  annotations: {loadbalancer.openstack.org/default-tls-container-ref: "http://key-manager/v1/containers/x"}
spec: {type: LoadBalancer, selector: {app: x}, ports: [{port: 443}]}
"""


@pytest.mark.parametrize(
    ("name", "parameters", "size", "reported"),
    [
        ("parameter", "tipe: files", "1Gi", "tipe"),
        ("type", "type: golden", "1Gi", "golden"),
        ("zone", "availability: mars", "1Gi", "mars"),
        ("quota", "type: files", "9000Gi", "quota"),
    ],
)
def test_impossible_claim_gets_event(cluster, name, parameters, size, reported):
    cluster.apply(CLASS % {"name": name, "parameters": parameters, "size": size})

    def message():
        return [
            event for event in cluster.events() if event.startswith(f"{name}: ProvisioningFailed") and reported in event
        ]

    assert until(message, seconds=30)
    cluster.kubectl("delete", "pvc,storageclass", name)


def test_impossible_objects_do_not_block_others(cluster):
    cluster.apply(CLASS % {"name": "bad", "parameters": "tipe: files", "size": "1Gi"})
    cluster.apply(REFUSED)
    cluster.apply(CLASS % {"name": "good", "parameters": "type: files", "size": "1Gi"})
    cluster.apply(OUTSIDE)
    until(lambda: cluster.object("pvc", "good")["status"]["phase"] == "Bound", seconds=30)
    until(lambda: cluster.address("outside", "kube-system"), seconds=30)
    until(lambda: any(event.startswith("refused: Refused: ") for event in cluster.events()), seconds=30)
    cluster.kubectl("delete", "service", "refused")
    cluster.kubectl("delete", "service", "outside", "-n", "kube-system")
    cluster.kubectl("delete", "pvc,storageclass", "good", "bad")


@pytest.mark.faults
def test_each_controller_killed_recovers(cluster):
    """Kill each program once during a creation and once during a deletion, at different moments.

    Everything is created and deleted, and nothing is left in the cloud.
    """
    for number, unit in enumerate(UNITS):
        claim = f"killed-{number}"
        cluster.write(claim)
        cluster.apply(OUTSIDE)
        time.sleep(0.4 * number)
        cluster.inside(CONTROL_PLANE, "systemctl", "kill", "--signal=KILL", f"{unit}.service")
        assert until(lambda claim=claim: cluster.pod(claim), seconds=120), unit
        assert until(lambda: cluster.address("outside", "kube-system"), seconds=60), unit
        cluster.kubectl("delete", "service", "outside", "-n", "kube-system", "--wait=false")
        cluster.kubectl("delete", f"deployment/{claim}", f"pvc/{claim}", "--wait=false")
        time.sleep(0.4 * number)
        cluster.inside(CONTROL_PLANE, "systemctl", "kill", "--signal=KILL", f"{unit}.service")
        until(lambda claim=claim: gone(cluster, claim), seconds=120)
    until(lambda: cluster.volumes() == [], seconds=60)
    assert cluster.load_balancers() == []


def test_all_controllers_killed_at_once_recover(cluster):
    """While something is made, and while it is deleted; `test-faults` kills them one after the other."""
    kill = ("systemctl", "kill", "--signal=KILL", *(f"{unit}.service" for unit in UNITS))
    cluster.write("killed")
    cluster.apply(OUTSIDE)
    cluster.inside(CONTROL_PLANE, *kill)
    until(lambda: cluster.pod("killed"), seconds=180)
    until(lambda: cluster.address("outside", "kube-system"), seconds=60)
    cluster.kubectl("delete", "service", "outside", "-n", "kube-system", "--wait=false")
    cluster.kubectl("delete", "deployment/killed", "pvc/killed", "--wait=false")
    cluster.inside(CONTROL_PLANE, *kill)
    until(lambda: gone(cluster, "killed"), seconds=180)
    until(lambda: cluster.volumes() == [], seconds=60)
    assert cluster.load_balancers() == []


def gone(cluster, claim):
    volumes = cluster.object("pv")
    services = cluster.kubectl("get", "service", "-n", "kube-system", "-o", "name", check=False)
    return volumes and not claims(volumes, claim) and "service/kube-dns" in services and "outside" not in services


def claims(volumes, name):
    return [volume for volume in volumes["items"] if volume["spec"].get("claimRef", {}).get("name") == name]


def test_unreachable_cloud_is_waited_for(cluster):
    """Octavia, Cinder, Nova and Keystone do not answer for half a minute, during which objects are requested."""
    unreachable = [cluster.cloud.programs()[name]["pid"] for name in ("octavia", "cinder", "nova", "keystone")]
    for pid in unreachable:
        os.kill(pid, signal.SIGSTOP)
    try:
        cluster.write("patient")
        cluster.apply(OUTSIDE)
        time.sleep(30)
    finally:
        for pid in unreachable:
            if os.path.exists(f"/proc/{pid}"):  # its supervisor may have restarted it
                os.kill(pid, signal.SIGCONT)
    assert until(lambda: cluster.pod("patient"), seconds=180)
    assert until(lambda: cluster.address("outside", "kube-system"), seconds=120)
    nodes = cluster.object("nodes")["items"]
    assert len(nodes) == 3, "a node is not given up because its cloud is silent"
    cluster.kubectl("delete", "service", "outside", "-n", "kube-system")


def test_pod_of_stopped_server_moves_with_its_data(cluster):
    pod = until(lambda: cluster.pod("patient"))
    node, before = pod["spec"]["nodeName"], cluster.log("patient")
    began = time.monotonic()
    cluster.sdk.compute.stop_server(cluster.server(node))
    moved = until(lambda: cluster.pod("patient"), lambda pod: pod and pod["spec"]["nodeName"] != node, seconds=180)
    print(f"the pod runs elsewhere {time.monotonic() - began:.0f} s after its node was stopped")
    assert cluster.log("patient")[: len(before)] == before, "what was acknowledged is there"
    assert moved["metadata"]["name"] != pod["metadata"]["name"]
    cluster.sdk.compute.start_server(cluster.server(node))
    until(lambda: not taints(cluster, node), seconds=120)


def taints(cluster, node):
    return [taint["key"] for taint in cluster.object("node", node)["spec"].get("taints", [])]


@pytest.mark.faults
def test_volume_of_disconnected_node_stays_attached(cluster):
    """It is silent, but its server runs: its pod may be writing."""
    pod = until(lambda: cluster.pod("patient"))
    node = pod["spec"]["nodeName"]
    [port] = cluster.sdk.network.ports(device_id=cluster.server(node).id)
    cluster.sdk.network.update_port(port, is_admin_state_up=False)
    try:
        until(lambda: "node.kubernetes.io/unreachable" in taints(cluster, node), seconds=120)
        time.sleep(20)
        assert cluster.object("node", node), "a silent node is not a lost one"
        [attachment] = cluster.object("volumeattachment")["items"]
        assert attachment["spec"]["nodeName"] == node
        [volume] = cluster.volumes()
        assert len(volume.attachments) == 1
    finally:
        cluster.sdk.network.update_port(port, is_admin_state_up=True)
    until(lambda: not taints(cluster, node), seconds=120)
    assert until(lambda: cluster.pod("patient"), seconds=120)
