"""What a cluster takes from its cloud, as its users see it: nodes, load balancers, volumes, its credential."""

from __future__ import annotations

import json
import socket
import time
import urllib.request

import pytest

from images import MIRROR, push_busybox

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAME = "taker"
CONTROL_PLANE = f"{NAME}-control-plane-0"
BALANCER = """
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: kube-system}
spec:
  type: LoadBalancer
  selector: {k8s-app: kube-dns}
  ports:
    - {name: metrics, port: 80, targetPort: 9153, protocol: TCP}
    - {name: dns, port: 53, targetPort: 53, protocol: UDP}
"""
STATEFUL = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %(claim)s}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  %(source)s
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(claim)s}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: %(claim)s}}
  template:
    metadata: {labels: {app: %(claim)s}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      containers:
        - name: writer
          image: %(image)s
          command: [sh, -c, "touch /data/log && while true; do echo $HOSTNAME >> /data/log; sync; sleep 1; done"]
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: %(claim)s}}]
"""
SNAPSHOT = """
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: kept}
spec: {source: {persistentVolumeClaimName: writer}}
"""
RESTORED = "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: kept}"


def eventually(what, timeout=90.0, pause=0.5):
    deadline = time.monotonic() + timeout
    while not (seen := what()):
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {seen!r}"
        time.sleep(pause)
    return seen


class Cluster:
    """The cluster, by kubectl and by the cloud's own commands."""

    def __init__(self, cloud, image, folder):
        self.cloud, self.image, self.folder = cloud, image, folder

    def kubectl(self, *words, check=True, timeout=90):
        return self.cloud.run("kubectl", *words, check=check, timeout=timeout).stdout

    def apply(self, manifest):
        file = self.folder / "manifest.yaml"
        file.write_text(manifest)
        self.kubectl("apply", "-f", str(file))

    def object(self, *words):
        shown = self.kubectl("get", *words, "-o", "json", check=False)
        return json.loads(shown) if shown else None

    def openstack(self, *words):
        return self.cloud.run("openstack", "--os-cloud", "moorage", *words, timeout=120).stdout

    def listed(self, *words):
        return json.loads(self.openstack(*words, "-f", "json"))

    def show(self):
        return json.loads(self.cloud.moorage("--cloud", "moorage", "cluster", "show", NAME, "-o", "json").stdout)

    def pod(self, app):
        """The running pod of a Deployment, which is ready; None meanwhile."""
        pods = [p for p in self.object("pods", "-l", f"app={app}")["items"] if "deletionTimestamp" not in p["metadata"]]
        ready = [pod for pod in pods if all(c["ready"] for c in pod["status"].get("containerStatuses", [{"ready": 0}]))]
        return ready[0] if len(pods) == len(ready) == 1 else None

    def log(self, app):
        """Which pods wrote into the volume, one line a second."""
        name = self.pod(app)["metadata"]["name"]
        return self.kubectl("exec", name, "--", "cat", "/data/log").split()

    def events(self, namespace="default"):
        items = self.object("events", "-n", namespace)["items"]
        return [f"{item['reason']}: {item['message']}" for item in items]


@pytest.fixture(scope="module")
def cluster(cloud, tmp_path_factory):
    image = push_busybox()
    words = ["--workers", "2", "--registry-mirror", MIRROR]
    cloud.moorage("--cloud", "moorage", "cluster", "create", NAME, *words, timeout=300)
    cloud.moorage("--cloud", "moorage", "cluster", "kubeconfig", NAME)
    yield Cluster(cloud, image, tmp_path_factory.mktemp("manifests"))
    cloud.moorage("--cloud", "moorage", "cluster", "delete", NAME, "--yes", timeout=240)
    made = Cluster(cloud, image, None)
    assert made.listed("volume", "list") == []
    assert made.listed("volume", "snapshot", "list") == []
    assert made.listed("loadbalancer", "list") == []


def test_nodes_are_their_servers(cluster):
    servers = {server["Name"]: server["ID"] for server in cluster.listed("server", "list")}
    for node in cluster.object("nodes")["items"]:
        name, labels = node["metadata"]["name"], node["metadata"]["labels"]
        assert node["spec"]["providerID"] == f"openstack:///{servers[name]}"
        assert labels["node.kubernetes.io/instance-type"] == "m1.node"
        assert labels["topology.kubernetes.io/zone"] == "nova"
        assert not [t for t in node["spec"].get("taints", []) if "cloudprovider" in t["key"]]
    addresses = cluster.object("node", CONTROL_PLANE)["status"]["addresses"]
    api = cluster.show()["api_url"].removeprefix("https://").partition(":")[0]
    assert {"type": "ExternalIP", "address": api} in addresses


def test_kubelets_serve_with_a_certificate_also_for_the_floating_ip(cluster):
    def granted():
        requests = cluster.object("csr")["items"]
        mine = [one for one in requests if one["spec"]["signerName"] == "kubernetes.io/kubelet-serving"]
        return mine and all(
            c["type"] == "Approved" for one in mine for c in one["status"].get("conditions", ({"type": ""},))
        )

    eventually(granted)
    assert cluster.kubectl("logs", "-n", "kube-system", "deployment/coredns")


def test_a_load_balancer_answers_from_outside_and_goes_with_its_service(cluster):
    cluster.apply(BALANCER)

    def address():
        status = cluster.object("service", "-n", "kube-system", "outside")["status"]["loadBalancer"]
        return status.get("ingress", [{}])[0].get("ip")

    where = eventually(address, 30)
    eventually(lambda: "coredns_build_info" in fetched(f"http://{where}/metrics"), 20)
    assert resolved(where, "kubernetes.default.svc.cluster.local")
    cluster.kubectl("delete", "service", "-n", "kube-system", "outside")
    assert cluster.listed("loadbalancer", "list") == []
    assert where not in cluster.openstack("floating", "ip", "list")


def fetched(url):
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def resolved(server, name):
    """Ask a DNS server for an address (RFC 1035), by UDP."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2)
        for _ in range(5):
            asking.sendto(query, (server, 53))
            try:
                answer = asking.recv(512)
            except TimeoutError:
                continue
            return answer[:2] == b"\x12\x34" and answer[7] == 1
    return False


def test_what_a_pod_wrote_outlives_the_pod(cluster):
    cluster.apply(STATEFUL % {"claim": "writer", "image": cluster.image, "source": ""})
    first = eventually(lambda: cluster.pod("writer"))["metadata"]["name"]
    eventually(lambda: first in cluster.log("writer"), 20)
    [volume] = cluster.listed("volume", "list")
    assert volume["Status"] == "in-use"
    cluster.kubectl("delete", "pod", first, "--wait=true")
    second = eventually(lambda: cluster.pod("writer"))["metadata"]["name"]
    assert second != first
    eventually(lambda: {first, second} <= set(cluster.log("writer")), 20)


def test_a_snapshot_is_restored_into_another_claim(cluster):
    eventually(lambda: cluster.pod("writer"))
    cluster.apply(SNAPSHOT)
    eventually(lambda: cluster.object("volumesnapshot", "kept").get("status", {}).get("readyToUse"), 60)
    cluster.apply(STATEFUL % {"claim": "restored", "image": cluster.image, "source": RESTORED})
    eventually(lambda: cluster.pod("restored"))
    assert set(cluster.log("writer")) & set(cluster.log("restored"))


def test_a_claim_grows(cluster):
    """At once where the kernel lets us, else when its pod begins anew; which of both, its conditions say."""
    pod = eventually(lambda: cluster.pod("writer"))["metadata"]["name"]
    cluster.kubectl("patch", "pvc", "writer", "-p", '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}')

    def conditions():
        return [condition["message"] for condition in cluster.object("pvc", "writer")["status"].get("conditions", ())]

    def capacity():
        return cluster.object("pvc", "writer")["status"]["capacity"]["storage"]

    eventually(lambda: capacity() == "2Gi" or any("start them again" in message for message in conditions()))
    if capacity() != "2Gi":
        cluster.kubectl("delete", "pod", pod)
        eventually(lambda: capacity() == "2Gi")
    name = eventually(lambda: cluster.pod("writer"))["metadata"]["name"]
    size = int(cluster.kubectl("exec", name, "--", "df", "-m", "/data").splitlines()[-1].split()[1])
    assert size > 1500


def test_a_pod_moves_with_its_volume_when_its_node_is_deleted(cluster):
    pod = eventually(lambda: cluster.pod("writer"))
    node = pod["spec"]["nodeName"]
    began = time.monotonic()
    cluster.openstack("server", "delete", node)
    eventually(lambda: cluster.object("node", node) is None, 30)
    gone = time.monotonic() - began
    moved = eventually(lambda: (found := cluster.pod("writer")) and found["spec"]["nodeName"] != node and found)
    print(f"node gone after {gone:.1f} s, its pod with its volume elsewhere after {time.monotonic() - began:.1f} s")
    assert pod["metadata"]["name"] in cluster.log("writer"), "what it wrote is there"
    assert moved["metadata"]["name"] != pod["metadata"]["name"]


def test_a_revoked_credential_is_told_and_a_new_one_taken_up(cluster):
    for credential in cluster.listed("application", "credential", "list"):
        if credential["Name"].startswith(f"moorage-{NAME}-"):
            cluster.openstack("application", "credential", "delete", credential["ID"])
    shown = eventually(lambda: (seen := cluster.show())["reason"] and "cannot ask its cloud" in seen["reason"] and seen)
    assert "refused the credentials" in shown["reason"]
    assert any(event.startswith("CloudAway: ") for event in cluster.events("kube-system"))
    cluster.cloud.moorage("--cloud", "moorage", "cluster", "renew-credential", NAME)
    eventually(lambda: "cannot ask its cloud" not in (cluster.show()["reason"] or ""))
    cluster.apply(BALANCER)
    eventually(lambda: cluster.object("service", "-n", "kube-system", "outside")["status"]["loadBalancer"], 60)
