"""The control plane's certificates: create those that are missing or no longer valid."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from moorage.node import pki
from moorage.node.files import File, link, write
from moorage.node.layout import Layout
from moorage.node.pki import Authority, Pair, Subject
from moorage.node.userdata import Cluster

CLUSTER_AUTHORITY = "kubernetes"
FRONT_PROXY_AUTHORITY = "front-proxy"
ADMINISTRATORS = "system:masters"
CONTROLLER, VOLUMES = "moorage:controller", "moorage:csi"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"


def subjects(cluster: Cluster) -> Mapping[str, Subject]:
    """File name → subject, for all certificates that the cluster's CA signs on the control plane."""
    joining = {"csi": Subject(VOLUMES)} if cluster.cloud_provider else {}
    return {
        "apiserver": Subject("kube-apiserver", "", api_addresses(cluster), api_names()),
        KUBELET_CLIENT.removeprefix("kube-"): Subject(KUBELET_CLIENT),
        "admin": Subject("moorage-node", ADMINISTRATORS),
        "controller-manager": Subject("system:kube-controller-manager"),
        "scheduler": Subject("system:kube-scheduler"),
        "controller": Subject(CONTROLLER),
        **joining,
    }


def api_addresses(cluster: Cluster) -> tuple[str, ...]:
    """Every address of the API server."""
    outside = (cluster.api_public_address,) if cluster.api_public_address else ()
    return ("127.0.0.1", cluster.service_address, cluster.api_address, *outside)


def api_names() -> tuple[str, ...]:
    """Every name of the API server."""
    service = "kubernetes.default.svc"
    return ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local")


def make(layout: Layout, cluster: Cluster, node: str) -> Authority:
    """Ensure that every key and certificate exists and is valid; valid ones do not change."""
    authority = _authority(layout.pki / "ca", CLUSTER_AUTHORITY)
    for name, subject in subjects(cluster).items():
        _issue(layout.pki / name, authority, subject)
    front = _authority(layout.pki / "front-proxy-ca", FRONT_PROXY_AUTHORITY)
    _issue(layout.pki / "front-proxy-client", front, Subject("front-proxy-client"))
    tokens = layout.pki / "sa.key", layout.pki / "sa.pub"
    if not all(path.exists() for path in tokens):
        _write(*tokens, pki.new_key())
    _kubelet(layout, authority, node)
    return authority


def keep_kubelet_certificate(layout: Layout, pair: Pair) -> None:
    """Put the kubelet's client certificate where the kubelet reads and renews it."""
    current = layout.kubelet_certificate
    first = current.with_name("kubelet-client-first.pem")
    write(first, File(pair.certificate + pair.key, 0o600))
    link(current, first.name)


def has_kubelet_certificate(layout: Layout) -> bool:
    """Whether there is one that has not expired."""
    try:
        return pki.valid(layout.kubelet_certificate.read_text(), datetime.datetime.now(datetime.UTC))
    except FileNotFoundError:
        return False


def _kubelet(layout: Layout, authority: Authority, node: str) -> None:
    if not has_kubelet_certificate(layout):
        keep_kubelet_certificate(layout, authority.issue(Subject(f"system:node:{node}", "system:nodes")))


def _authority(stem: Path, name: str) -> Authority:
    """The CA of these files. The key is written first, because a certificate without its key is useless."""
    certificate, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
    if certificate.exists():
        return Authority(Pair(certificate.read_text(), key.read_text()))
    made = Authority.new(name)
    _write(key, certificate, made.pair)
    return made


def _issue(stem: Path, authority: Authority, subject: Subject) -> None:
    certificate, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
    now = datetime.datetime.now(datetime.UTC)
    there = certificate.exists() and key.exists()
    if there and pki.fits(certificate.read_text(), authority.pair.certificate, subject, now):
        return
    certificate.unlink(missing_ok=True)
    _write(key, certificate, authority.issue(subject))


def _write(key: Path, certificate: Path, pair: Pair) -> None:
    write(key, File(pair.key, 0o600))
    write(certificate, File(pair.certificate))
