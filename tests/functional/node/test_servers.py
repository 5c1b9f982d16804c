"""Servers with a kernel of their own, from the disk image: they join a cluster, whatever describes them."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import HOST, Lab, new_mac, run
from moorage.clusters import node_pods
from moorage.clusters.node_pods import HostCommand
from moorage.config import Paths
from moorage.image.disk.build import build_disk
from moorage.image.disk.kernel import Hardware
from moorage.model.boot import RECORD, BootRecord, Slot
from serving import folder_server, serving
from vm import META_DATA, Partition, Vm
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(5400)]

CONTROL_PLANE = "lab-control-plane-0"
METADATA = "169.254.169.254"
PAST = ("-rtc", "base=1970-01-01")
SLOW = {"ready_timeout": 1800}
POD = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: {node}}}
data: {{Corefile: ".:53 {{\\n health\\n}}"}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {node}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers:
    - name: dns
      image: moorage.local/coredns:1
      args: [-conf, /c/Corefile]
      volumeMounts: [{{name: c, mountPath: /c}}]
  volumes: [{{name: c, configMap: {{name: {node}}}}}]
"""


@pytest.fixture(scope="module")
def disk(node_image: Any) -> Path:
    return build_disk(Paths.from_environment(os.environ).cache, node_image, Hardware.SERVER, print).file


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Lab:
    lab.boot(CONTROL_PLANE, "10.66.0.10", lab.user_data("control-plane"))
    assert lab.signal_of(CONTROL_PLANE)["status"] == "SUCCESS"
    return lab


class Metadata(http.server.ThreadingHTTPServer):
    """Nova's metadata service, for one server."""

    def __init__(self, documents: dict[str, str]) -> None:
        self.documents = documents
        super().__init__((METADATA, 80), _Metadata)


class _Metadata(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_GET(self) -> None:
        found = self.server.documents.get(self.path.removeprefix("/openstack/latest/"))
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write((found or "").encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def metadata() -> Iterator[dict[str, str]]:
    """The documents of a metadata service on the servers' own link."""
    documents: dict[str, str] = {}
    run("ip", "address", "add", f"{METADATA}/32", "dev", "nodes0")
    with serving(Metadata(documents)):
        yield documents
    run("ip", "address", "del", f"{METADATA}/32", "dev", "nodes0")


def signal_of(lab: Lab, vm: Vm, name: str) -> dict[str, Any]:
    def state() -> dict[str, Any] | None:
        assert vm.process.poll() is None, f"qemu ended: {vm.console[-3000:]}"
        return lab.signals.reported.get(name)

    reported: dict[str, Any] = until(state, seconds=900, why=lambda: vm.console[-5000:])
    return reported


def answers_from(lab: Lab, node: str) -> str:
    """What a pod on the node answers to the control plane, over the pods' network."""
    address = lab.kubectl("get", "pod", node, "-o", "jsonpath={.status.podIP}")
    ask = f"import urllib.request; print(urllib.request.urlopen('http://{address}:8080/health', timeout=20).read())"
    return lab.inside(CONTROL_PLANE, "python3", "-c", ask, check=False)


def check_disk(lab: Lab, vm: Vm, image: Path) -> None:
    """The boot was blessed, the boot partition has an id of its own, and /var has the rest of the disk."""
    boot, state = (Partition(vm.folder, vm.disk, number) for number in (3, 4))
    assert BootRecord.parse(boot.read(f"/{RECORD}")).slots == (Slot("a", lab.image.version),)
    assert boot.statistics["Filesystem UUID"] != Partition(vm.folder, image, 3).statistics["Filesystem UUID"]
    assert state.start + state.size > state.end_of_disk - 8 * 2**20, "/var does not extend to the disk's end"
    assert state.statistics["Block count"] == str(state.size // 4096)


def test_server_joins_from_nothing_but_a_config_drive(cluster: Lab, tmp_path: Path, disk: Path) -> None:
    """With BIOS, and without the time, which DHCP's time server knows."""
    node = "lab-server-0"
    vm = Vm(tmp_path, disk, options=(*cluster.nic(cluster.lease("10.66.0.20")), *PAST))
    vm.config_drive(cluster.user_data("worker", node=SLOW), meta_data=META_DATA | {"name": node})
    with vm:
        assert signal_of(cluster, vm, node)["status"] == "SUCCESS", vm.console[-3000:]
        cluster.apply(POD.format(node=node))
        until(lambda: "OK" in answers_from(cluster, node), seconds=400, why=lambda: vm.console[-3000:])
    check_disk(cluster, vm, disk)


def test_server_joins_from_the_metadata_service(
    cluster: Lab, tmp_path: Path, disk: Path, metadata: dict[str, str]
) -> None:
    """With UEFI."""
    node = "lab-server-1"
    metadata["user_data"] = cluster.user_data("worker", node=SLOW)
    metadata["meta_data.json"] = json.dumps(META_DATA | {"name": node})
    with Vm(tmp_path, disk, uefi=True, options=cluster.nic(cluster.lease("10.66.0.21"))) as vm:
        assert signal_of(cluster, vm, node)["status"] == "SUCCESS", vm.console[-3000:]
    check_disk(cluster, vm, disk)


@pytest.mark.faults
def test_server_is_updated_in_place(cluster: Lab, tmp_path: Path, disk: Path) -> None:
    """By pods on it, as `moorage node update` does, from the same disk as another version."""
    node, digest = "lab-server-3", hashlib.sha256(disk.read_bytes()).hexdigest()
    vm = Vm(tmp_path, disk, size="6G", options=cluster.nic(cluster.lease("10.66.0.23")))
    vm.config_drive(cluster.user_data("worker", node=SLOW), meta_data=META_DATA | {"name": node})
    with serving(folder_server((HOST, 8080), disk.parent)), vm:
        assert signal_of(cluster, vm, node)["status"] == "SUCCESS", vm.console[-3000:]
        url = f"http://{HOST}:8080/{disk.name}"
        words = ("/usr/bin/moorage-node", "update", url, digest, "next", "--format", "disk")
        last = run_on(cluster, vm, node, HostCommand("update", words))
        assert last.startswith("slot b (next) boots next")
        run_on(cluster, vm, node, HostCommand("switch", ("/usr/bin/moorage-node", "switch")))
        path = "jsonpath={.metadata.annotations.moorage\\.io/image}"
        until(
            lambda: cluster.kubectl("get", "node", node, "-o", path, check=False) == "next",
            seconds=900,
            why=lambda: vm.console[-5000:],
        )
    slots = BootRecord.parse(Partition(tmp_path, vm.disk, 3).read(f"/{RECORD}")).slots
    assert slots == (Slot("b", "next"), Slot("a", cluster.image.version))


def run_on(lab: Lab, vm: Vm, node: str, command: HostCommand) -> str:
    """Run a command in a pod on the node; the last line of its output, or "" when it reboots the node."""
    pod = node_pods.pod(node, command)
    lab.apply(json.dumps(pod))
    name = pod["metadata"]["name"]

    def phase() -> str:
        return lab.kubectl("get", "pod", "-n", "kube-system", name, "-o", "jsonpath={.status.phase}", check=False)

    until(phase, lambda found: found in ("Succeeded", "Failed"), seconds=1200, why=lambda: vm.console[-3000:])
    log = lab.kubectl("logs", "-n", "kube-system", name, check=False)
    assert phase() == "Succeeded" or command.action == "switch", log
    return (log.splitlines() or [""])[-1]


def test_server_without_dhcp_signals_that_its_user_data_is_truncated(cluster: Lab, tmp_path: Path, disk: Path) -> None:
    """It has two interfaces, and only the second one has a network that leads somewhere."""
    node, mac = "lab-server-2", new_mac()
    user_data = cluster.user_data("worker")
    document = json.loads(user_data.partition("\n")[2])
    del document["cluster"]
    links = [
        {"id": "port-0", "type": "phy", "ethernet_mac_address": new_mac()},
        {"id": "port-1", "type": "phy", "ethernet_mac_address": mac, "mtu": 1400},
    ]
    networks = [{"type": "ipv4", "link": "port-1", "ip_address": "10.66.0.22", "netmask": "255.255.255.0"}]
    vm = Vm(tmp_path, disk, options=cluster.nic(mac))
    vm.config_drive(
        f"#moorage-node/v1\n{json.dumps(document)}",
        meta_data=META_DATA | {"name": node},
        network_data={"links": links, "networks": networks},
    )
    with vm:
        reported = signal_of(cluster, vm, node)
    assert (reported["status"], reported["reason"]) == ("FAILURE", "cluster is missing or not a mapping")
