"""A node's files from its user data and its machine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from moorage.model.cluster import Taint
from moorage.node import configuration
from moorage.node.configuration import Identity, Resources
from moorage.node.files import File, write
from moorage.node.layout import Layout
from moorage.node.source import Server
from moorage.node.userdata import Cluster, Role, UserData

pytestmark = pytest.mark.unit

RESOURCES = Resources(memory_shown=2048, memory_limit=2048, cpu_shown=2000, cpu_limit=2000)
NODE = Identity("demo-worker-0", "10.0.0.11", RESOURCES, Server("0f0e0d0c", "nova"))


def message(role: Role = "worker", backend: str = "vxlan", mirrors: dict[str, str] | None = None) -> UserData:
    cluster = Cluster(
        name="demo",
        api_address="10.0.0.10",
        api_public_address="",
        pod_cidr="10.244.0.0/16",
        service_cidr="10.96.0.0/16",
        node_cidr="10.0.0.0/24",
        flannel_backend=backend,
        bootstrap_token="abcdef.0123456789abcdef",
        registry_mirrors=mirrors or {},
    )
    return UserData(role, cluster, "workers")


def test_hosts_has_own_name() -> None:
    assert "10.0.0.11 demo-worker-0\n" in configuration.hosts(message(), NODE).text


def test_environment_has_node_variables() -> None:
    text = configuration.node_environment(message(), NODE).text
    assert text == (
        "NODE_NAME=demo-worker-0\nNODE_IP=10.0.0.11\nNODE_LABELS=moorage.io/node-group=workers\n"
        "SERVER_ID=0f0e0d0c\nSERVER_ZONE=nova\nCLOUD_PROVIDER=\n"
    )


def test_kubelet_registers_with_taints_of_its_role_and_group() -> None:
    def taints(data):
        return json.loads(configuration.kubelet(data, NODE).text).get("registerWithTaints")

    own = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule", "value": ""}
    given = Taint("gpu", "NoExecute", "yes")
    assert taints(message()) is None
    assert taints(message("control-plane")) == [own]
    assert taints(replace(message(), taints=(given,))) == [{"key": "gpu", "effect": "NoExecute", "value": "yes"}]


@pytest.mark.parametrize(
    ("role", "resources", "reserved"),
    [
        ("worker", Resources(2048, 2048, 2000, 2000), {"memory": "256Mi", "cpu": "0m"}),
        ("control-plane", Resources(2048, 2048, 2000, 2000), {"memory": "1024Mi", "cpu": "0m"}),
        ("worker", Resources(24000, 2048, 8000, 2000), {"memory": "22208Mi", "cpu": "6000m"}),
        ("control-plane", Resources(1024, 1024, 1000, 1000), {"memory": "896Mi", "cpu": "0m"}),
    ],
)
def test_reserved_leaves_pods_the_rest(role: Role, resources: Resources, reserved: dict[str, str]) -> None:
    assert configuration.reserved(message(role), resources) == reserved


def test_flannel_configuration() -> None:
    vxlan = json.loads(configuration.flannel(message()).text)
    assert vxlan == {
        "Network": "10.244.0.0/16",
        "EnableNFTables": True,
        "Backend": {"Type": "vxlan", "Port": 8472},
    }
    assert json.loads(configuration.flannel(message(backend="host-gw")).text)["Backend"] == {"Type": "host-gw"}


def test_cni_configuration_of_lease() -> None:
    lease = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1392\nFLANNEL_IPMASQ=true\n"
    bridge, ports = json.loads(configuration.cni(lease).text)["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]
    assert bridge["mtu"] == 1392
    assert ports["type"] == "portmap"


def test_mirrors_are_where_containerd_reads() -> None:
    mirrors = {"*": "http://172.24.4.1:5080", "docker.io": "http://m"}
    files = configuration.mirrors(Path("/etc/containerd/certs.d"), mirrors)
    assert sorted(str(path) for path in files) == [
        "/etc/containerd/certs.d/_default/hosts.toml",
        "/etc/containerd/certs.d/docker.io/hosts.toml",
    ]
    default = files[Path("/etc/containerd/certs.d/_default/hosts.toml")].text
    assert default.startswith('[host."http://172.24.4.1:5080"]')


def test_nameservers_of_the_network() -> None:
    state = "OPER_STATE=routable\nDNS=10.0.0.2 10.0.0.3\nDOMAINS=\n"
    assert configuration.nameservers(state) == ["10.0.0.2", "10.0.0.3"]
    assert configuration.resolv(["10.0.0.2"]).text == "nameserver 10.0.0.2\n"
    assert configuration.resolv([]).text.startswith("#")


def test_write_file_once_with_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert write(path, File("a", 0o600)) is True
    assert write(path, File("a", 0o600)) is False
    assert path.stat().st_mode & 0o777 == 0o600
    assert write(path, File("b", 0o644)) is True
    assert path.read_text() == "b"
    assert os.listdir(path.parent) == ["file"]


def test_layout_is_below_root(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    data = message(mirrors={"*": "http://m"})
    files = configuration.common(layout, data, NODE) | configuration.environment(layout, data)
    assert all(path.is_relative_to(tmp_path / "etc") for path in files)
    assert layout.cloud_ca not in files
    private = replace(data, cluster=replace(data.cluster, cloud_ca="PEM"))
    assert configuration.common(layout, private, NODE)[layout.cloud_ca].text == "PEM"
    assert layout.cloud_ca.parent == layout.clouds.parent, "where the controllers look for it"
