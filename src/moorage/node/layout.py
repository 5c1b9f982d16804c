"""Paths on a node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below `root`: `/` on a node, a folder in tests. Kubernetes and the units use the same paths."""

    root: Path = Path("/")

    @property
    def kubernetes(self) -> Path:
        return self.root / "etc/kubernetes"

    @property
    def pki(self) -> Path:
        return self.kubernetes / "pki"

    @property
    def ca(self) -> Path:
        return self.pki / "ca.crt"

    @property
    def kubelet_certificate(self) -> Path:
        """Certificate and key in one file; the kubelet renews it and moves the link."""
        return self.root / "var/lib/kubelet/pki/kubelet-client-current.pem"

    @property
    def clouds(self) -> Path:
        """The clouds.yaml with the cluster's credential, on the control plane only."""
        return self.root / "etc/moorage/clouds.yaml"

    @property
    def cloud_ca(self) -> Path:
        """Certificates of the cloud's CA; only for clouds with one that Debian does not trust."""
        return self.clouds.with_name("cloud-ca.pem")

    @property
    def config_drive(self) -> Path:
        return self.root / "run/config-drive"

    @property
    def resolv(self) -> Path:
        return self.root / "run/moorage/resolv.conf"

    @property
    def networks(self) -> Path:
        """Configuration of systemd-networkd for this boot."""
        return self.root / "run/systemd/network"

    @property
    def network_state(self) -> Path:
        """systemd-networkd's record of what DHCP assigned."""
        return self.root / "run/systemd/netif/state"

    @property
    def flannel_lease(self) -> Path:
        """flanneld writes it once the pod network is up."""
        return self.root / "run/flannel/subnet.env"

    @property
    def cni(self) -> Path:
        return self.root / "etc/cni/net.d/10-moorage.conflist"

    @property
    def store(self) -> Path:
        """etcd's data."""
        return self.root / "var/lib/etcd/member"

    @property
    def store_seed(self) -> Path:
        """The store of a new cluster, from the image (moorage.image.seed)."""
        return self.root / "usr/lib/moorage/store"

    @property
    def trusted_keys(self) -> Path:
        """Public keys, from the image; with any, this node accepts only images that one of them signed."""
        return self.root / "usr/lib/moorage/trusted-keys"

    @property
    def snapshot_definitions(self) -> Path:
        """The custom resource definitions of snapshots, from the image."""
        return self.root / "usr/lib/moorage/manifests/snapshot-crds.yaml"

    @property
    def state(self) -> Path:
        """What moorage-node keeps across boots."""
        return self.root / "var/lib/moorage"

    @property
    def boot_began(self) -> Path:
        """Exists once moorage-node has run in this boot."""
        return self.root / "run/moorage/boot-began"

    @property
    def ready_seconds(self) -> Path:
        """How long the last healthy boot took."""
        return self.state / "ready-seconds"

    @property
    def boot(self) -> Path:
        """The boot partition: slots, and the record of their attempts."""
        return self.root / "boot"

    @property
    def incoming(self) -> Path:
        """A slot that is not complete yet, on the boot partition."""
        return self.boot / "incoming"

    @property
    def downloads(self) -> Path:
        """Disk images from which a slot is filled."""
        return self.state / "downloads"

    @property
    def version(self) -> Path:
        """The version of the node image."""
        return self.root / "usr/lib/moorage/version"

    @property
    def blessed(self) -> Path:
        """Exists once this boot was healthy."""
        return self.root / "run/moorage/blessed"

    @property
    def boot_slot(self) -> Path:
        """The name of the slot that the firmware booted."""
        return self.root / "run/moorage/boot-slot"
