"""A node's configuration files, computed from its user data and its machine. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from moorage.kube import kubeconfig
from moorage.model.cluster import Taint
from moorage.model.credential import Credential, clouds_yaml
from moorage.model.nodes import GROUP_LABEL
from moorage.node.files import File
from moorage.node.layout import Layout
from moorage.node.source import UNKNOWN, Server
from moorage.node.userdata import Cluster, UserData

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
VXLAN_PORT = 8472
SYSTEM_MEMORY = 256
"""MiB that systemd, containerd and the kubelet use."""
CONTROL_PLANE_MEMORY = 768
"""MiB that etcd, the API server, the controller manager, the scheduler and moorage-controller use."""
CLOUD_MEMORY = 384
"""MiB that moorage-controller's cloud part, the CSI controller and its sidecars use."""


@dataclass(frozen=True)
class Resources:
    """What the kernel shows, and what the machine may use of it. Memory in MiB, CPUs in thousandths."""

    memory_shown: int
    memory_limit: int
    cpu_shown: int
    cpu_limit: int


@dataclass(frozen=True)
class Identity:
    """A node's identity: name, address in the cluster's network, resources, server in the cloud."""

    name: str
    address: str
    resources: Resources
    server: Server = UNKNOWN


def common(layout: Layout, data: UserData, node: Identity) -> dict[Path, File]:
    """Files of every node."""
    files = {
        layout.root / "etc/hosts": hosts(data, node),
        layout.root / "etc/moorage/node.env": node_environment(data, node),
        layout.kubernetes / "kubelet.conf.d/10-node.conf": kubelet(data, node),
        layout.kubernetes / "kubelet.conf": _kubelet_access(layout, data),
        layout.root / "etc/kube-flannel/net-conf.json": flannel(data),
    }
    if data.cluster.cloud_ca:
        files[layout.cloud_ca] = _file(data.cluster.cloud_ca)
    return files | mirrors(layout.root / "etc/containerd/certs.d", data.cluster.registry_mirrors)


def control_plane(layout: Layout, cluster: Cluster) -> dict[Path, File]:
    """How the control plane's own programs reach the API server: on loopback, whatever the network does."""
    names = ("admin", "controller-manager", "scheduler", "controller")
    return {
        layout.kubernetes / f"{name}.conf": _kubeconfig(
            "https://127.0.0.1:6443", layout.ca, layout.pki / f"{name}.crt", layout.pki / f"{name}.key"
        )
        for name in (*names, *(("csi",) if cluster.cloud_provider else ()))
    }


def clouds(credential: Credential) -> File:
    """The clouds.yaml of the cluster's controllers, readable by root only."""
    return File(clouds_yaml(credential), 0o600)


def hosts(data: UserData, node: Identity) -> File:
    """The node resolves its own name without DNS."""
    return _file(f"127.0.0.1 localhost\n::1 localhost\n{node.address} {node.name}\n")


def environment(layout: Layout, data: UserData) -> dict[Path, File]:
    """Variables of the cluster for the units' command lines."""
    cluster = data.cluster
    return {
        layout.root / "etc/moorage/cluster.env": _environment(
            CLUSTER_NAME=cluster.name,
            API_ADDRESS=cluster.api_address,
            POD_CIDR=cluster.pod_cidr,
            SERVICE_CIDR=cluster.service_cidr,
            NODE_CIDR=cluster.node_cidr,
        )
    }


def node_environment(data: UserData, node: Identity) -> File:
    """Variables of this node for the units' command lines."""
    labels = {GROUP_LABEL: data.group, **data.labels}
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return _environment(
        NODE_NAME=node.name,
        NODE_IP=node.address,
        NODE_LABELS=shown,
        SERVER_ID=node.server.id,
        SERVER_ZONE=node.server.zone,
        CLOUD_PROVIDER=data.cluster.cloud_provider,
    )


def kubelet(data: UserData, node: Identity) -> File:
    """The node's own part of the kubelet's configuration (a drop-in, as JSON, which is valid YAML)."""
    document: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "clusterDNS": [data.cluster.dns_address],
        "systemReserved": reserved(data, node.resources),
    }
    own = (Taint(CONTROL_PLANE, "NoSchedule"),) if data.role == "control-plane" else ()
    if taints := (*own, *data.taints):
        document["registerWithTaints"] = [asdict(taint) for taint in taints]
    return _file(json.dumps(document, indent=2) + "\n")


def reserved(data: UserData, resources: Resources) -> dict[str, str]:
    """What pods may not use: our own programs' share, and what the kernel shows of the host beyond a limit."""
    own = SYSTEM_MEMORY
    if data.role == "control-plane":
        own += CONTROL_PLANE_MEMORY + (CLOUD_MEMORY if data.cluster.cloud_provider else 0)
    # A machine that is too small for its own programs still registers, with the little it has.
    usable = max(resources.memory_limit - own, resources.memory_limit // 8)
    memory = max(resources.memory_shown - usable, 0)
    cpu = max(resources.cpu_shown - resources.cpu_limit, 0)
    return {"memory": f"{memory}Mi", "cpu": f"{cpu}m"}


def flannel(data: UserData) -> File:
    """flannel's network configuration; host-gw has no further settings."""
    backend: dict[str, object] = {"Type": data.cluster.flannel_backend}
    if data.cluster.flannel_backend == "vxlan":
        backend["Port"] = VXLAN_PORT
    return _file(
        json.dumps({"Network": data.cluster.pod_cidr, "EnableNFTables": True, "Backend": backend}, indent=2) + "\n"
    )


def mirrors(folder: Path, registries: Mapping[str, str]) -> dict[Path, File]:
    """One hosts.toml for each registry; the key `*` is for registries without one."""
    return {
        folder / ("_default" if name == "*" else name) / "hosts.toml": _file(
            f'[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
        )
        for name, url in registries.items()
    }


def resolv(servers: Sequence[str]) -> File:
    """The node's resolv.conf, which pods with the node's DNS get too."""
    return _file("".join(f"nameserver {server}\n" for server in servers) or "# The network has no DNS server.\n")


def nameservers(network_state: str) -> list[str]:
    """The DNS servers in systemd-networkd's state file."""
    lines = (line.removeprefix("DNS=") for line in network_state.splitlines() if line.startswith("DNS="))
    return [server for line in lines for server in line.split()]


def cni(lease: str) -> File:
    """The CNI configuration for flannel's lease (the text of subnet.env): a bridge, and host ports."""
    values = dict(line.split("=", 1) for line in lease.splitlines() if "=" in line)
    subnet = str(ipaddress.ip_interface(values["FLANNEL_SUBNET"]).network)
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "mtu": int(values["FLANNEL_MTU"]),
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]], "dataDir": "/run/cni/networks"},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"}
    document = {"cniVersion": "1.0.0", "name": "moorage", "plugins": [bridge, ports]}
    return _file(json.dumps(document, indent=2) + "\n")


def _environment(**values: str) -> File:
    return _file("".join(f"{key}={value}\n" for key, value in values.items()))


def _file(text: str) -> File:
    return File(text, rewritten_at_boot=True)


def _kubeconfig(url: str, ca: Path, certificate: Path, key: Path) -> File:
    """As JSON, which is valid YAML."""
    document = kubeconfig.with_files(url, ca, certificate, key)
    return File(json.dumps(document, indent=2) + "\n", 0o600, rewritten_at_boot=True)


def _kubelet_access(layout: Layout, data: UserData) -> File:
    current = layout.kubelet_certificate
    return _kubeconfig(f"https://{data.cluster.api_address}:6443", layout.ca, current, current)
