"""flanneld, our main over flannel's packages, with a real API server: what it waits for and what it leaves."""

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from moorage.config import Paths
from moorage.image.release import find_release
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.usefixtures("own_network")]

NET_CONF = {"Network": "10.244.0.0/16", "EnableNFTables": True, "Backend": {"Type": "vxlan", "Port": 8472}}
TOKEN = "test-token"


@pytest.fixture(scope="module")
def release():
    return find_release(Paths.from_environment(os.environ).cache)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A node's files, and an interface with the node's address."""
    folder = tmp_path_factory.mktemp("flannel")
    (folder / "net-conf.json").write_text(json.dumps(NET_CONF))
    (folder / "tokens").write_text(f"{TOKEN},admin,1,system:masters\n")
    (folder / "kubeconfig").write_text(
        json.dumps(
            {
                "clusters": [
                    {"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": True}}
                ],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    run("ip", "link", "add", "node0", "type", "veth", "peer", "name", "cable0")
    run("ip", "address", "add", "10.0.0.5/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "link", "set", "cable0", "up")
    yield folder
    run("ip", "link", "del", "node0")


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


@contextmanager
def running(log, *words, environment=None):
    with log.open("ab") as stream:
        process = subprocess.Popen(words, stdout=stream, stderr=stream, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def api_server(release, folder):
    """etcd and kube-apiserver, until the API is ready."""
    key = folder / "key.pem"
    run("openssl", "genrsa", "-out", str(key), "2048")
    etcd = (release.program("etcd"), "--data-dir", folder / "etcd", "--unsafe-no-fsync")
    api = (
        release.program("kube-apiserver"),
        "--etcd-servers=http://127.0.0.1:2379",
        f"--cert-dir={folder}",
        f"--token-auth-file={folder / 'tokens'}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.test",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        "--advertise-address=10.0.0.5",
    )
    with running(folder / "etcd.log", *etcd), running(folder / "api.log", *api):
        until(
            lambda: kubectl(release, folder, "get", "--raw=/readyz", check=False) == "ok",
            why=lambda: (folder / "api.log").read_text()[-1000:],
        )
        yield


def kubectl(release, folder, *words, check=True, text=None):
    done = subprocess.run(
        [release.program("kubectl"), f"--kubeconfig={folder / 'kubeconfig'}", *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def flanneld(release, folder, **changed):
    flags = {
        "kubeconfig": folder / "kubeconfig",
        "node-name": "node-0",
        "net-conf": folder / "net-conf.json",
        "iface-ip": "10.0.0.5",
        "subnet-file": folder / "subnet.env",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    return [release.program("flanneld"), *(f"--{name}={value}" for name, value in flags.items())]


def test_flanneld_waits_for_api_node_and_network(release, folder):
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(folder / "notify"))
    ready.settimeout(15)
    environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")}
    log = folder / "flanneld.log"
    with ready, running(log, *flanneld(release, folder), environment=environment) as daemon:
        reported(log, "waiting: ")
        assert "connection refused" in log.read_text()
        with api_server(release, folder):
            reported(log, 'nodes "node-0" not found')
            as_kubelet = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0", "annotations": as_kubelet}}
            kubectl(release, folder, "create", "-f", "-", text=json.dumps(node))
            reported(log, "has no pod network yet")
            begun = time.monotonic()
            kubectl(release, folder, "patch", "node", "node-0", "-p", '{"spec":{"podCIDR":"10.244.3.0/24"}}')
            assert ready.recv(100) == b"READY=1"
            assert time.monotonic() - begun < 3
            environment_file = dict(line.split("=") for line in (folder / "subnet.env").read_text().split())
            assert environment_file == {
                "FLANNEL_NETWORK": "10.244.0.0/16",
                "FLANNEL_SUBNET": "10.244.3.1/24",
                "FLANNEL_MTU": "1450",
                "FLANNEL_IPMASQ": "true",
            }
            node = json.loads(kubectl(release, folder, "get", "node", "node-0", "-o", "json"))
            assert node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] == "10.0.0.5"
            rules = run("nft", "list", "ruleset")
            assert "masquerade" in rules
            assert "10.244.3.0/24" in rules
            assert "inet 10.244.3.0/32" in run("ip", "address", "show", "flannel.1")
            until(lambda: conditions(release, folder), lambda found: "NetworkUnavailable=False" in found, seconds=5)
            another_node_is_routed_to(release, folder)
            daemon.terminate()
            assert daemon.wait(10) == 0, log.read_text()


def reported(log, words):
    until(lambda: words in log.read_text(), seconds=15, why=lambda: f"no {words!r} in {log.read_text()!r}")


def conditions(release, folder):
    path = "-o=jsonpath={range .status.conditions[*]}{.type}={.status} {end}"
    return kubectl(release, folder, "get", "node", "node-0", path)


def another_node_is_routed_to(release, folder):
    name = "flannel.alpha.coreos.com"
    mac = json.dumps({"VNI": 1, "VtepMAC": "aa:bb:cc:dd:ee:ff"})
    notes = {"backend-type": "vxlan", "backend-data": mac, "public-ip": "10.0.0.6", "kube-subnet-manager": "true"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1", "annotations": {f"{name}/{key}": value for key, value in notes.items()}},
        "spec": {"podCIDR": "10.244.4.0/24"},
    }
    kubectl(release, folder, "create", "-f", "-", text=json.dumps(node))
    until(lambda: run("ip", "route"), lambda found: "10.244.4.0/24 via 10.244.4.0 dev flannel.1" in found, seconds=5)


@pytest.mark.parametrize(
    ("changed", "code", "reports"),
    [
        ({"iface_ip": "10.9.9.9"}, 1, "no interface of this node has 10.9.9.9"),
        ({"net_conf": "/nowhere.json"}, 1, "/nowhere.json"),
        ({"net_conf": "aws.json"}, 1, '"aws-vpc" is none of vxlan, host-gw'),
        ({"node_name": ""}, 2, "--node-name is needed"),
    ],
)
def test_flanneld_exits_on_bad_configuration(release, folder, changed, code, reports):
    (folder / "aws.json").write_text(json.dumps(NET_CONF | {"Backend": {"Type": "aws-vpc"}}))
    words = flanneld(release, folder, **changed)
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, reports in done.stderr) == (code, True), done.stderr
