"""A control plane and a worker from the node image: from power-on to a cluster, through reboots and refusals."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from moorage.image.containers import ContainerImage, File, Link, write_archive
from moorage.local.machine import life
from moorage.model.boot import BootRecord, Slot
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

CONTROL_PLANE, WORKER = "lab-control-plane-0", "lab-worker-0"
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: web}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  tolerations: [{{operator: Exists}}]
  containers:
    - name: web
      image: moorage.local/busybox:1
      command: [/bin/sh, -c, "mkdir /tmp/w && echo {name} > /tmp/w/index.html && exec httpd -f -p 80 -h /tmp/w"]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def cluster(lab: Any) -> Any:
    began = time.monotonic()
    lab.boot(CONTROL_PLANE, "10.66.0.10", lab.user_data("control-plane"))
    lab.boot(WORKER, "10.66.0.11", lab.user_data("worker"))
    for name in (CONTROL_PLANE, WORKER):
        reported = lab.signal_of(name)
        assert reported["status"] == "SUCCESS", reported
        print(f"{name}: signalled {reported['at'] - began:.1f} s after power-on")
    return lab


@pytest.fixture(scope="module")
def pods(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small web server on each node, and a Service before both."""
    archive = tmp_path_factory.mktemp("image") / "busybox.tar"
    names = ("sh", "httpd", "wget", "nslookup", "mkdir", "echo", "sleep", "cat", "ping", "nc")
    links = [Link(f"bin/{name}", "busybox") for name in names]
    entries = (File("bin/busybox", Path("/bin/busybox")), *links, File("tmp/.keep", Path("/dev/null")))
    write_archive(ContainerImage("moorage.local/busybox:1", entries, ("/bin/sh",)), archive)
    for name in (CONTROL_PLANE, WORKER):
        give(cluster, name, archive)
        cluster.apply(POD.format(name=f"on-{name}", node=name))
    cluster.apply(SERVICE)
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    return cluster


def give(lab: Any, name: str, archive: Path) -> None:
    """Import a container image on a node."""
    pid = str(life.pid(lab.machines[name]))
    command = ["nsenter", "-t", pid, "-a", "ctr", "-n", "k8s.io", "images", "import", "--local", "-"]
    subprocess.run(command, input=archive.read_bytes(), check=True, capture_output=True, timeout=60)


def in_pod(lab: Any, node: str, *words: str, check: bool = True) -> str:
    found: str = lab.kubectl("exec", f"on-{node}", "--", *words, check=check)
    return found


def pod_address(lab: Any, node: str) -> str:
    found: str = lab.kubectl("get", "pod", f"on-{node}", "-o", "jsonpath={.status.podIP}")
    return found


def ready_nodes(lab: Any) -> list[str]:
    lines = lab.kubectl("get", "nodes", "--no-headers", check=False).splitlines()
    return [line.split()[0] for line in lines if " Ready " in line]


def test_both_nodes_are_ready_and_labeled(cluster: Any) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    labels = {node["metadata"]["name"]: node["metadata"]["labels"] for node in nodes}
    assert ready_nodes(cluster) == [CONTROL_PLANE, WORKER]
    assert labels[WORKER]["moorage.io/node-group"] == "workers"
    assert "node-role.kubernetes.io/control-plane" in labels[CONTROL_PLANE]


def test_no_unit_failed_and_boot_is_blessed(cluster: Any) -> None:
    for name in (CONTROL_PLANE, WORKER):
        assert cluster.inside(name, "systemctl", "--failed", "--no-legend") == ""
        record = BootRecord.parse(cluster.inside(name, "cat", "/boot/grub/grubenv").encode())
        assert record.slots == (Slot("a", cluster.image.version),)


def test_serving_certificate_of_each_node_is_approved_without_a_cloud(cluster: Any) -> None:
    def holders() -> set[str]:
        requests = json.loads(cluster.kubectl("get", "csr", "-o", "json"))["items"]
        serving = [one for one in requests if one["spec"]["signerName"] == "kubernetes.io/kubelet-serving"]
        return {one["spec"]["username"] for one in serving if one["status"].get("certificate")}

    until(holders, lambda found: found == {f"system:node:{name}" for name in (CONTROL_PLANE, WORKER)})


def test_signal_grants_access_without_secrets(cluster: Any, tmp_path: Path) -> None:
    reported = cluster.signals.reported[CONTROL_PLANE]["data"]
    assert "PRIVATE" not in json.dumps(cluster.signals.reported)
    for name, text in {"ca": reported["ca"], "crt": reported["client_certificate"], "key": cluster.client.key}.items():
        (tmp_path / name).write_text(text)
    curl = ("curl", "-s", "--cacert", str(tmp_path / "ca"), "--cert", str(tmp_path / "crt"))
    answer = subprocess.run(
        [*curl, "--key", str(tmp_path / "key"), "https://10.66.0.10:6443/api/v1/nodes"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(answer.stdout)["items"]) == 2
    assert cluster.signals.tokens == {"token-of-control-plane", "token-of-worker"}


def test_anonymous_requests_read_only_health_and_cluster_info(cluster: Any) -> None:
    def status(path: str) -> str:
        command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"https://10.66.0.10:6443{path}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert status("/livez") == status("/readyz") == "200"
    assert status("/api/v1/namespaces/kube-public/configmaps/cluster-info") == "200"
    assert status("/api") == status("/version") == status("/api/v1/namespaces/kube-public/configmaps") == "401"


def test_pods_reach_each_other_across_nodes(pods: Any) -> None:
    for here, there in ((CONTROL_PLANE, WORKER), (WORKER, CONTROL_PLANE)):
        assert in_pod(pods, here, "wget", "-qO-", f"http://{pod_address(pods, there)}/") == f"on-{there}"


def test_pods_find_services_by_name(pods: Any) -> None:
    for node in (CONTROL_PLANE, WORKER):
        answers = {in_pod(pods, node, "wget", "-qO-", "http://web.default.svc.cluster.local/") for _ in range(12)}
        assert answers == {f"on-{CONTROL_PLANE}", f"on-{WORKER}"}


def test_services_survive_restart_of_kube_proxy(pods: Any) -> None:
    """Its first round compares nft's output with its own rules, as do the hourly round and one for a new zone."""
    before = services_on(pods, WORKER)
    assert any(".80" in entry.replace(" ", "") for entry in before)
    pods.inside(WORKER, "systemctl", "restart", "kube-proxy")
    until(lambda: since_restart(pods), lambda reported: "Caches are synced" in reported, seconds=30)
    time.sleep(2)
    assert services_on(pods, WORKER) == before


def services_on(lab: Any, node: str) -> set[str]:
    listed = json.loads(lab.inside(node, "nft", "--json", "list", "map", "ip", "kube-proxy", "service-ips"))
    entries = next(one["map"] for one in listed["nftables"] if "map" in one).get("elem", [])
    return {" . ".join(str(part) for part in key["concat"]) for key, _ in entries}


def since_restart(lab: Any) -> str:
    found: str = lab.inside(WORKER, "journalctl", "-q", "-o", "cat", "-u", "kube-proxy", "-n", "4")
    return found


def test_pods_cannot_reach_the_metadata_service(pods: Any) -> None:
    subprocess.run(["ip", "address", "add", "169.254.169.254/32", "dev", "nodes0"], check=True)
    service = http.server.ThreadingHTTPServer(("169.254.169.254", 80), _Metadata)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    asking = "import urllib.request as r; print(r.urlopen('http://169.254.169.254/', timeout=5).read().decode())"
    for node in (CONTROL_PLANE, WORKER):
        assert pods.inside(node, "python3", "-c", asking) == "user data"
        assert in_pod(pods, node, "wget", "-qO-", "http://169.254.169.254/", check=False) == ""
    service.shutdown()
    service.server_close()


class _Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"user data")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_secrets_are_readable_by_root_only(cluster: Any) -> None:
    readable = cluster.inside(CONTROL_PLANE, "find", "/etc/kubernetes", "-name", "*.key", "-perm", "/077")
    assert readable == ""
    assert cluster.inside(WORKER, "find", "/etc/kubernetes", "-name", "*.key") == ""
    assert "ca.key" in cluster.inside(CONTROL_PLANE, "ls", "/etc/kubernetes/pki")
    sockets = cluster.inside(CONTROL_PLANE, "ss", "-ltnH")
    assert ":2379" not in sockets
    assert ":2380" not in sockets


TAKEN = """
apiVersion: v1
kind: Service
metadata: {name: taken}
spec: {selector: {app: web}, ports: [{port: 80}], externalIPs: [10.66.0.1]}
"""


def test_service_cannot_take_an_address(cluster: Any) -> None:
    with pytest.raises(AssertionError, match="externalIPs"):
        cluster.apply(TAKEN)


def test_pods_have_a_filter_of_system_calls_and_a_limit_of_processes(pods: Any) -> None:
    for node in (CONTROL_PLANE, WORKER):
        assert "Seccomp:\t2\n" in in_pod(pods, node, "cat", "/proc/self/status")
        limits = (
            "find",
            "/sys/fs/cgroup",
            "-path",
            "*/kubepods*/*pod*",
            "-name",
            "pids.max",
            "-exec",
            "cat",
            "{}",
            "+",
        )
        assert "4096" in pods.inside(node, *limits).split()


def test_audit_log_has_who_wrote_what_without_contents(cluster: Any) -> None:
    cluster.kubectl("create", "secret", "generic", "audited", "--from-literal=key=do-not-log-this")
    path = "/var/log/kubernetes/audit.log"
    found = until(lambda: [line for line in audit(cluster, path) if '"name":"audited"' in line], seconds=30)
    entry = json.loads(found[0])
    assert (entry["verb"], entry["objectRef"]["resource"], entry["level"]) == ("create", "secrets", "Metadata")
    assert entry["user"]["username"] == "moorage-node"
    assert "do-not-log-this" not in "".join(audit(cluster, path))
    assert cluster.inside(CONTROL_PLANE, "stat", "-c", "%a", "/var/log/kubernetes") == "700"
    assert not [line for line in audit(cluster, path) if '"resource":"leases"' in line]


def audit(lab: Any, path: str) -> list[str]:
    text: str = lab.inside(CONTROL_PLANE, "cat", path)
    return text.splitlines()


def test_root_is_read_only(cluster: Any) -> None:
    assert "Read-only" in _refusal(cluster, "touch", "/usr/file")


def _refusal(lab: Any, *words: str) -> str:
    pid = str(life.pid(lab.machines[WORKER]))
    return subprocess.run(["nsenter", "-t", pid, "-a", *words], capture_output=True, text=True, check=False).stderr


def test_wrong_token_is_reported(cluster: Any) -> None:
    wrong = cluster.user_data(
        "worker", cluster={"bootstrap_token": "abcdef.fedcba9876543210"}, node={"ready_timeout": 60}
    )
    cluster.boot("lab-worker-8", "10.66.0.18", wrong)
    reported = cluster.signal_of("lab-worker-8", 120)
    assert reported["status"] == "FAILURE"
    assert "the join token does not verify the CA of the API server at 10.66.0.10" in reported["reason"]
    message = "failed: finding the cluster: the join token does not verify"
    until(lambda: cluster.console("lab-worker-8"), lambda reported: message in reported, seconds=30)


def test_unreachable_api_is_reported(cluster: Any) -> None:
    # The timeout covers the wait for the network too, which takes seconds on a busy machine.
    lost = cluster.user_data("worker", cluster={"api_address": "10.66.0.77"}, node={"ready_timeout": 20})
    cluster.boot("lab-worker-7", "10.66.0.17", lost)
    reported = cluster.signal_of("lab-worker-7", 120)
    assert reported["status"] == "FAILURE"
    assert "finding the cluster: the API server cannot be reached: https://10.66.0.77:6443" in reported["reason"]


def test_bad_user_data_is_reported(cluster: Any) -> None:
    cluster.boot("lab-worker-9", "10.66.0.19", cluster.user_data("worker", cluster={"pod_cidr": "10.244.0.1/16"}))
    reported = cluster.signal_of("lab-worker-9", 120)
    assert reported["status"] == "FAILURE"
    assert "cluster.pod_cidr is '10.244.0.1/16'" in reported["reason"]


def test_cluster_survives_power_failure(pods: Any) -> None:
    """Both machines are killed and started; pods run again; no node signals twice."""
    pods.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    pods.signals.reported.clear()
    for name in (CONTROL_PLANE, WORKER):
        life.kill(pods.machines[name], pods.host)
    for name in (CONTROL_PLANE, WORKER):
        pods.start(name)
    for name in (CONTROL_PLANE, WORKER):
        until(lambda name=name: _is_up(pods, name), seconds=90, why=lambda name=name: pods.console(name)[-3000:])
    assert pods.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    until(lambda: _answers(pods), seconds=90, why=lambda: pods.kubectl("get", "pods", "-A", "-o", "wide"))
    assert pods.signals.reported == {}


def _is_up(lab: Any, name: str) -> bool:
    shown: str = lab.inside(name, "systemctl", "show", "-p", "SubState", "--value", "moorage-node", check=False)
    return shown == "exited"


def _answers(lab: Any) -> bool:
    url = "http://web.default.svc.cluster.local/"
    return in_pod(lab, WORKER, "wget", "-qO-", url, check=False).startswith("on-")
