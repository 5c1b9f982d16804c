"""Certificates: a kubelet's serving certificate is for its own name and its own addresses."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moorage.ccm.nodes.certificates import PATIENCE, RETRY, SIGNER, CertificateReconciler, answer, decide
from moorage.ccm.nodes.plan import EXTERNAL_IPS as SAID_BY_THE_CONTROLLER
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import NODES as NODE_RESOURCE
from moorage.kube.port import SIGNING_REQUESTS, Object
from moorage.model.nodes import EXTERNAL_IPS, external_ips, external_ips_label
from moorage.node.pki import Subject

pytestmark = pytest.mark.unit

CIDR = "10.0.0.0/24"


def request(
    name: str = "system:node:w0",
    group: str = "system:nodes",
    dns: tuple[str, ...] = ("w0",),
    addresses: tuple[str, ...] = ("10.0.0.5",),
    others: tuple[x509.GeneralName, ...] = (),
    **spec: Any,
) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(one) for one in dns]
    ips = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    builder = x509.CertificateSigningRequestBuilder().subject_name(Subject(name, group).x509)
    if alternatives := [*names, *ips, *others]:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    fields = {
        "signerName": SIGNER,
        "username": "system:node:w0",
        "groups": ["system:nodes", "system:authenticated"],
        "usages": ["digital signature", "server auth"],
        "request": base64.b64encode(pem).decode(),
    }
    return {"metadata": {"name": "csr-1"}, "spec": fields | spec}


def node(name: str, address: str) -> Object:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


NODES = [node("cp", "10.0.0.10"), node("w0", "10.0.0.5"), node("w1", "10.0.0.6")]


def test_decide_own_name_and_address_is_approved() -> None:
    assert decide(request(), NODES, CIDR).verdict == "approve"
    assert decide(request(dns=()), NODES, CIDR).verdict == "approve"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request(username="system:node:w1"), "system:node:w1 may not request a certificate for system:node:w0"),
        (request(username="anna", groups=["moorage:admins"]), "anna is not a node"),
        (request(groups=["system:authenticated"]), "is not a node"),
        (request(group="system:masters"), "its organization must be system:nodes"),
        (request(usages=["client auth", "digital signature"]), "its usages must be"),
        (request(usages=["digital signature", "server auth", "client auth"]), "its usages must be"),
        (request(dns=("w0", "kubernetes")), "kubernetes is not the name of w0"),
        (request(addresses=("10.0.0.10",)), "10.0.0.10 is the address of cp"),
        (request(addresses=("10.0.0.5", "10.0.0.6")), "10.0.0.6 is the address of w1"),
        (request(addresses=("172.24.4.20",)), "172.24.4.20 is not within the nodes' network"),
        (request(addresses=("::1",)), "::1 is not within the nodes' network"),
        (request(dns=(), addresses=()), "it must name DNS names and addresses"),
        (request(others=(x509.UniformResourceIdentifier("spiffe://x"),)), "addresses only"),
        (request(request=base64.b64encode(b"nonsense").decode()), "it is not a readable certificate signing request"),
    ],
)
def test_decide_other_requests_are_denied(asked: Object, why: str) -> None:
    decision = decide(asked, NODES, CIDR)
    assert decision.verdict == "deny"
    assert why in decision.reason


@pytest.mark.parametrize("name", [b"\xa3\x00", b"\xa5\x00"], ids=["x400Address", "ediPartyName"])
def test_decide_malformed_name_is_denied(name: bytes) -> None:
    """The API server's own parser passes over such names; cryptography raises an error of its own for them."""
    names = x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, b"\x30\x02" + name)
    builder = x509.CertificateSigningRequestBuilder().subject_name(Subject("system:node:w0", "system:nodes").x509)
    signed = builder.add_extension(names, critical=False).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    decision = decide(request(request=base64.b64encode(pem).decode()), NODES, CIDR)
    assert decision.verdict == "deny"
    assert "it is not a readable certificate signing request" in decision.reason


def test_decide_unreported_address_waits() -> None:
    assert decide(request(addresses=("10.0.0.7",)), NODES, CIDR).verdict == "wait"
    assert decide(request(), [], CIDR).verdict == "wait"


def test_other_signers_and_answered_requests_are_ignored() -> None:
    assert decide(request(signerName="kubernetes.io/kube-apiserver-client"), NODES, CIDR).verdict == "ignore"
    answered = request() | {"status": {"conditions": [{"type": "Approved"}]}}
    assert decide(answered, NODES, CIDR).verdict == "ignore"


def test_answer_keeps_request_and_has_reason() -> None:
    asked = request()
    given = answer(asked, decide(asked, NODES, CIDR))
    assert given["spec"] == asked["spec"]
    assert given["status"]["conditions"][0]["type"] == "Approved"


def with_floating(vouched: str) -> Object:
    """The node w0, which says that it has a floating IP; `vouched` is what moorage-controller says."""
    found = node("w0", "10.0.0.5")
    found["status"]["addresses"].append({"type": "ExternalIP", "address": "172.24.4.9"})
    found["metadata"]["labels"] = {EXTERNAL_IPS: vouched} if vouched else {}
    return found


def test_decide_floating_ip_is_approved_once_confirmed() -> None:
    asked = request(addresses=("10.0.0.5", "172.24.4.9"))
    assert decide(asked, [with_floating("")], CIDR).verdict == "wait"
    assert decide(asked, [with_floating("172.24.4.8_172.24.4.9")], CIDR).verdict == "approve"
    assert decide(asked, [with_floating("172.24.4.8")], CIDR).verdict == "wait"
    other = {**with_floating("172.24.4.9"), "metadata": {"name": "w1", "labels": {EXTERNAL_IPS: "172.24.4.9"}}}
    assert decide(asked, [node("w0", "10.0.0.5"), other], CIDR).verdict == "deny"


def test_nodes_and_certificates_share_the_label() -> None:
    assert EXTERNAL_IPS == SAID_BY_THE_CONTROLLER
    assert EXTERNAL_IPS.startswith("node-restriction.kubernetes.io/"), "else a kubelet could set it"
    message = external_ips_label(["172.24.4.9", "172.24.4.10"])
    assert external_ips({EXTERNAL_IPS: message}) == {"172.24.4.9", "172.24.4.10"}
    assert (external_ips_label([]), external_ips({})) == ("", set())


CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class World:
    """The API with one request and its reconciler, with a clock that the test sets."""

    def __init__(self, asked: Object, nodes: list[Object]) -> None:
        self.api, self.now = MemoryKubernetesClient(), CREATED
        asked["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        self.api.create(SIGNING_REQUESTS, asked)
        for found in nodes:
            self.api.create(NODE_RESOURCE, found)
        stores = Stores(self.api, SIGNING_REQUESTS), Stores(self.api, NODE_RESOURCE)
        self.reconciler = CertificateReconciler(self.api, *stores, CIDR, lambda: self.now)

    def reconcile(self) -> float | None:
        return self.reconciler.reconcile("csr-1")

    def conditions(self) -> list[tuple[str, str]]:
        found = self.api.get(SIGNING_REQUESTS, "csr-1") or {}
        return [(one["type"], one["message"]) for one in found.get("status", {}).get("conditions", ())]


class Stores:
    """A watch cache that is always up to date."""

    def __init__(self, api: MemoryKubernetesClient, resource: Any) -> None:
        self.api, self.resource = api, resource

    def get(self, key: str) -> Object | None:
        return self.api.get(self.resource, key)

    def all(self) -> list[Object]:
        return list(self.api.list(self.resource).items)


def test_reconcile_answers_once() -> None:
    world = World(request(), NODES)
    assert world.reconcile() is None
    assert world.conditions() == [("Approved", "the name and all addresses are those of w0")]
    world.api.calls.clear()
    assert world.reconcile() is None
    assert "replace certificatesigningrequests" not in world.api.calls


def test_reconcile_waits_for_address_and_denies_after_a_while() -> None:
    world = World(request(addresses=("10.0.0.7",)), NODES)
    assert world.reconcile() == RETRY
    assert world.conditions() == []
    world.now = CREATED + datetime.timedelta(seconds=PATIENCE)
    assert world.reconcile() is None
    assert world.conditions() == [("Denied", "w0 has not reported the address 10.0.0.7")]


def test_reconcile_approves_waiting_request_once_node_reports_address() -> None:
    world = World(request(), NODES[:1])
    assert world.reconcile() == RETRY
    world.api.create(NODE_RESOURCE, NODES[1])
    assert world.reconcile() is None
    assert [kind for kind, _ in world.conditions()] == ["Approved"]


def test_reconcile_deleted_request_does_nothing() -> None:
    world = World(request(), NODES)
    world.api.delete(SIGNING_REQUESTS, "csr-1")
    assert world.reconcile() is None
