"""What a cluster takes from its cloud, as its users see it: nodes, load balancers, volumes, its credential."""

from __future__ import annotations

import socket
import time
import urllib.request
from functools import partial

import pytest

import waiting
from cluster import OUTSIDE, RunCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("emptied")]
until = partial(waiting.until, seconds=90)

NAME = RunCluster.NAME
CONTROL_PLANE = f"{NAME}-control-plane-0"
SNAPSHOT = """
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: kept}
spec: {source: {persistentVolumeClaimName: writer}}
"""
RESTORED = "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: kept}"


def test_nodes_match_their_servers(cluster):
    servers = {server.name: server.id for server in cluster.sdk.compute.servers()}
    for node in cluster.object("nodes")["items"]:
        name, labels = node["metadata"]["name"], node["metadata"]["labels"]
        assert node["spec"]["providerID"] == f"openstack:///{servers[name]}"
        assert labels["node.kubernetes.io/instance-type"] == "m1.node"
        assert labels["topology.kubernetes.io/zone"] == "nova"
        assert not [t for t in node["spec"].get("taints", []) if "cloudprovider" in t["key"]]
    addresses = cluster.object("node", CONTROL_PLANE)["status"]["addresses"]
    api = cluster.show()["api_url"].removeprefix("https://").partition(":")[0]
    assert {"type": "ExternalIP", "address": api} in addresses


def test_kubelet_serving_certificate_includes_floating_ip(cluster):
    def granted():
        requests = cluster.object("csr")["items"]
        own = [one for one in requests if one["spec"]["signerName"] == "kubernetes.io/kubelet-serving"]
        return own and all(
            c["type"] == "Approved" for one in own for c in one["status"].get("conditions", ({"type": ""},))
        )

    until(granted)
    assert cluster.kubectl("logs", "-n", "kube-system", "deployment/coredns")


def test_load_balancer_answers_and_is_deleted_with_service(cluster):
    cluster.apply(OUTSIDE)

    where = until(lambda: cluster.address("outside", "kube-system"), seconds=30)
    until(lambda: "coredns_build_info" in fetched(f"http://{where}/metrics"), seconds=20)
    assert resolved(where, "kubernetes.default.svc.cluster.local")
    cluster.kubectl("delete", "service", "-n", "kube-system", "outside")
    assert cluster.load_balancers() == []
    assert where not in cluster.floating_ips()


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


def test_volume_data_survives_pod(cluster):
    cluster.write("writer")
    first = until(lambda: cluster.pod("writer"))["metadata"]["name"]
    until(lambda: first in cluster.log("writer"), seconds=20)
    [volume] = cluster.volumes()
    assert volume.status == "in-use"
    cluster.kubectl("delete", "pod", first, "--wait=true")
    second = until(lambda: cluster.pod("writer"))["metadata"]["name"]
    assert second != first
    until(lambda: {first, second} <= set(cluster.log("writer")), seconds=20)


def test_dns_resolves_in_pod(cluster):
    pod = until(lambda: cluster.pod("writer"))["metadata"]["name"]
    lookup = ("nslookup", "kubernetes.default.svc.cluster.local")
    address = cluster.object("service", "kubernetes")["spec"]["clusterIP"]
    until(lambda: address in cluster.kubectl("exec", pod, "--", *lookup, check=False), seconds=30)


def test_snapshot_is_restored_to_new_claim(cluster):
    until(lambda: cluster.pod("writer"))
    cluster.apply(SNAPSHOT)
    until(lambda: cluster.object("volumesnapshot", "kept").get("status", {}).get("readyToUse"), seconds=60)
    cluster.write("restored", RESTORED)
    until(lambda: cluster.pod("restored"))
    assert set(cluster.log("writer")) & set(cluster.log("restored"))


def test_claim_expands(cluster):
    """At once if the kernel allows it, else when it is mounted next; the claim's conditions say which."""
    until(lambda: cluster.pod("writer"))
    cluster.kubectl("patch", "pvc", "writer", "-p", '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}')

    def conditions():
        return [
            condition.get("message", "")
            for condition in cluster.object("pvc", "writer")["status"].get("conditions", ())
        ]

    def capacity():
        return cluster.object("pvc", "writer")["status"]["capacity"]["storage"]

    until(lambda: capacity() == "2Gi" or any("start them again" in message for message in conditions()))
    if capacity() != "2Gi":
        # The next pod on the same node would find it still mounted.
        cluster.kubectl("scale", "deployment", "writer", "--replicas=0")
        volume = cluster.object("pvc", "writer")["spec"]["volumeName"]
        until(lambda: volume not in attached(cluster), seconds=60)
        cluster.kubectl("scale", "deployment", "writer", "--replicas=1")
        until(lambda: capacity() == "2Gi")
    name = until(lambda: cluster.pod("writer"))["metadata"]["name"]
    size = int(cluster.kubectl("exec", name, "--", "df", "-m", "/data").splitlines()[-1].split()[1])
    assert size > 1500


def attached(cluster):
    return [one["spec"]["source"]["persistentVolumeName"] for one in cluster.object("volumeattachment")["items"]]


def test_pod_moves_with_volume_when_server_is_deleted(cluster):
    pod = until(lambda: cluster.pod("writer"))
    node = pod["spec"]["nodeName"]
    began = time.monotonic()
    cluster.sdk.compute.delete_server(cluster.server(node))
    until(lambda: cluster.object("node", node) is None, seconds=30)
    gone = time.monotonic() - began
    moved = until(lambda: cluster.pod("writer"), lambda pod: pod and pod["spec"]["nodeName"] != node)
    print(f"node gone after {gone:.1f} s, its pod with its volume elsewhere after {time.monotonic() - began:.1f} s")
    assert pod["metadata"]["name"] in cluster.log("writer"), "what it wrote is there"
    assert moved["metadata"]["name"] != pod["metadata"]["name"]


def test_revoked_credential_is_reported_and_replaced(cluster):
    identity, user = cluster.sdk.identity, cluster.sdk.current_user_id
    for credential in list(identity.application_credentials(user)):
        if credential.name.startswith(f"moorage-{NAME}-"):
            identity.delete_application_credential(user, credential)
    shown = until(cluster.show, lambda seen: "cannot reach its cloud" in (seen["reason"] or ""))
    assert "refused the credentials" in shown["reason"]
    assert any("CloudUnreachable: " in event for event in cluster.events())
    cluster.cloud.moorage("--cloud", "moorage", "cluster", "renew-credential", NAME)
    until(lambda: "cannot reach its cloud" not in (cluster.show()["reason"] or ""))
    cluster.apply(OUTSIDE)
    until(lambda: cluster.address("outside", "kube-system"), seconds=60)
