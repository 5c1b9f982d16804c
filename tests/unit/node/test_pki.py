"""Certificates: what they say, whom they trust, and when they are made again."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from moorage.model.errors import BadInput
from moorage.node import authority, pki
from moorage.node.layout import Layout
from moorage.node.pki import Authority, Subject, new_request
from moorage.node.userdata import Cluster

pytestmark = pytest.mark.unit

CLUSTER = Cluster(
    name="demo",
    api_address="10.0.0.10",
    api_public_address="172.24.4.20",
    pod_cidr="10.244.0.0/16",
    service_cidr="10.96.0.0/16",
    node_cidr="10.0.0.0/24",
    flannel_backend="vxlan",
    bootstrap_token="abcdef.0123456789abcdef",
)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_server_certificate_has_addresses() -> None:
    ca = Authority.new("ca")
    subject = Subject("api", addresses=("10.0.0.10",), names=("kubernetes",))
    made = x509.load_pem_x509_certificate(ca.issue(subject).certificate.encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_client_certificate_has_name_and_our_group() -> None:
    request = new_request(Subject("anna", "system:masters"))
    signed = Authority.new("ca").sign_client(request.certificate, "moorage:admins")
    made = x509.load_pem_x509_certificate(signed.encode())
    assert made.subject.rfc4514_string() == "CN=anna,O=moorage:admins"


@pytest.mark.parametrize("name", ["system:kube-controller-manager", "system:node:x"])
def test_sign_client_rejects_system_names(name: str) -> None:
    with pytest.raises(BadInput, match="must be a user's"):
        Authority.new("ca").sign_client(new_request(Subject(name)).certificate, "moorage:admins")


def test_sign_client_rejects_invalid_request() -> None:
    with pytest.raises(BadInput, match="client_csr"):
        Authority.new("ca").sign_client("nonsense", "moorage:admins")


def test_fits_authority_and_subject_for_two_thirds_of_life() -> None:
    ca, other, subject = Authority.new("ca"), Authority.new("ca"), Subject("a", addresses=("10.0.0.1",))
    made = ca.issue(subject).certificate
    assert pki.fits(made, ca.pair.certificate, subject, now())
    assert not pki.fits(made, other.pair.certificate, subject, now())
    assert not pki.fits(made, ca.pair.certificate, Subject("a", addresses=("10.0.0.2",)), now())
    assert not pki.fits(made, ca.pair.certificate, subject, now() + datetime.timedelta(days=800))
    assert not pki.fits("", ca.pair.certificate, subject, now())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_make_twice_changes_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    authority.make(layout, CLUSTER, "demo-control-plane-0")
    first = files(tmp_path)
    authority.make(layout, CLUSTER, "demo-control-plane-0")
    assert files(tmp_path) == first
    for path in (*layout.pki.glob("*.key"), layout.kubelet_certificate):
        assert path.stat().st_mode & 0o077 == 0


def test_make_after_crash_completes(tmp_path: Path) -> None:
    """Whatever file is missing, the next boot makes a set that fits together.

    But for the authorities' keys: they are written, and on disk, before the certificate that makes them needed.
    """
    whole = Layout(tmp_path / "whole")
    authority.make(whole, CLUSTER, "n")
    written = sorted(path.name for path in whole.pki.iterdir())
    for lost in set(written) - {"ca.key", "front-proxy-ca.key"}:
        layout = Layout(tmp_path / lost)
        authority.make(layout, CLUSTER, "n")
        (layout.pki / lost).unlink()
        authority.make(layout, CLUSTER, "n")
        assert sorted(path.name for path in layout.pki.iterdir()) == written
        ca = layout.ca.read_text()
        for name, subject in authority.subjects(CLUSTER).items():
            assert pki.fits((layout.pki / f"{name}.crt").read_text(), ca, subject, now())


def test_changed_public_address_reissues_certificate(tmp_path: Path) -> None:
    from dataclasses import replace

    layout = Layout(tmp_path)
    authority.make(layout, CLUSTER, "n")
    before = layout.ca.read_text(), (layout.pki / "apiserver.crt").read_text()
    authority.make(layout, replace(CLUSTER, api_public_address="172.24.4.99"), "n")
    assert layout.ca.read_text() == before[0]
    assert (layout.pki / "apiserver.crt").read_text() != before[1]
