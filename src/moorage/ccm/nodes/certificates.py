"""Approves kubelets' serving certificates: each for its own node, its own name and its own addresses.

Kubernetes signs such requests but leaves their approval to the cluster. The rules for the form of a request are those
of the signer `kubernetes.io/kubelet-serving`. The rule that an address must be in the cluster's network and not another
node's, or be a floating IP that moorage-controller confirms, is ours.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from moorage.kube.port import SIGNING_REQUESTS, KubernetesClient, Object, Resource
from moorage.kube.store import Store
from moorage.model.errors import Conflict, NotFound
from moorage.model.nodes import external_ips

log = logging.getLogger(__name__)
RETRY = 1.0  # seconds until a waiting request is looked at again
PATIENCE = 30.0  # seconds for which a request waits until its node has reported the requested addresses
SIGNER = "kubernetes.io/kubelet-serving"
PREFIX = "system:node:"
GROUP = "system:nodes"
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""Errors of parsing a request: any client can write a malformed one."""
ALLOWED_USAGES = ({"digital signature", "server auth"}, {"digital signature", "server auth", "key encipherment"})


@dataclass(frozen=True)
class Decision:
    """The decision about a request: `wait` while the node may still report an address."""

    verdict: Literal["approve", "deny", "wait", "ignore"]
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """What the request itself, signed by the kubelet's key, names."""

    name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    others: int = field(default=0)


def decide(request: Object, nodes: Iterable[Object], node_cidr: str) -> Decision:
    """Decide about one CertificateSigningRequest from the existing Nodes."""
    spec, status = request["spec"], request.get("status") or {}
    if spec.get("signerName") != SIGNER or status.get("conditions"):
        return Decision("ignore")
    try:
        asked = read(base64.b64decode(spec["request"]).decode())
    except UNREADABLE as error:
        return Decision("deny", f"it is not a readable certificate signing request: {error}")
    wrong = _form(spec, asked)
    return Decision("deny", wrong) if wrong else _addresses(asked, list(nodes), node_cidr)


def read(pem: str) -> Asked:
    """Parse a PEM request.

    ValueError when it is not one or not signed by its own key, or another error of UNREADABLE.
    """
    found = x509.load_pem_x509_csr(pem.encode())
    if not found.is_signature_valid:
        raise ValueError("its signature is wrong")
    names = [str(one.value) for one in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(one.value) for one in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    asked = Asked(names[0] if len(names) == 1 else "", groups)
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return asked
    dns = tuple(alternatives.get_values_for_type(x509.DNSName))
    addresses = tuple(str(one) for one in alternatives.get_values_for_type(x509.IPAddress))
    others = len(list(alternatives)) - len(dns) - len(addresses)
    return Asked(asked.name, groups, dns, addresses, others)


@dataclass
class CertificateReconciler:
    """Approves or denies signing requests of the signer; the key is the request's name.

    It needs neither the cloud nor the lease: two that answer the same request agree.
    """

    api: KubernetesClient
    requests: Store
    nodes: Store
    node_cidr: str
    clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    name: str = "certificates"
    watches: tuple[Resource, ...] = (SIGNING_REQUESTS,)

    def reconcile(self, key: str) -> float | None:
        """Raises KubernetesUnreachable."""
        request = self.requests.get(key)
        if request is None:
            return None
        decision = decide(request, self.nodes.all(), self.node_cidr)
        if decision.verdict == "wait":
            if self._age(request) < PATIENCE:
                return RETRY
            decision = Decision("deny", decision.reason)
        if decision.verdict in ("approve", "deny"):
            self._answer(request, decision)
        return None

    def _age(self, request: Object) -> float:
        """Seconds since the request was created."""
        created = datetime.datetime.fromisoformat(request["metadata"]["creationTimestamp"])
        return (self.clock() - created).total_seconds()

    def _answer(self, request: Object, decision: Decision) -> None:
        try:
            self.api.replace(SIGNING_REQUESTS, answer(request, decision), subresource="approval")
        except (Conflict, NotFound):
            return  # answered or deleted meanwhile
        user, verdict = request["spec"].get("username"), "approved" if decision.verdict == "approve" else "denied"
        log.info("%s %s of %s: %s", verdict, request["metadata"]["name"], user, decision.reason)


def answer(request: Object, decision: Decision) -> Object:
    """The request with the decision as its condition, for its `approval` subresource."""
    kind = "Approved" if decision.verdict == "approve" else "Denied"
    condition = {"type": kind, "status": "True", "reason": "MoorageApprover", "message": decision.reason}
    return {**request, "status": {**(request.get("status") or {}), "conditions": [condition]}}


def _form(spec: Object, asked: Asked) -> str:
    """What is wrong with the request on its own, or an empty string."""
    user = spec.get("username", "")
    if not user.startswith(PREFIX) or GROUP not in (spec.get("groups") or []):
        return f"{user or 'anonymous'} is not a node"
    if asked.name != user:
        return f"{user} may not request a certificate for {asked.name or 'no name'}"
    if asked.organizations != (GROUP,):
        return f"its organization must be {GROUP}"
    if set(spec.get("usages") or []) not in ALLOWED_USAGES:
        return f"its usages must be digital signature and server auth, not {', '.join(spec.get('usages') or [])}"
    if asked.others or not (asked.dns or asked.addresses):
        return "it must name DNS names and addresses only"
    return ""


def _addresses(asked: Asked, nodes: list[Object], node_cidr: str) -> Decision:
    name = asked.name.removeprefix(PREFIX)
    foreign = [one for one in asked.dns if one != name]
    if foreign:
        return Decision("deny", f"{foreign[0]} is not the name of {name}")
    known = {one["metadata"]["name"]: one for one in nodes}
    network, vouched = ipaddress.ip_network(node_cidr), _vouched(known.get(name, {}))
    outside = [one for one in asked.addresses if one not in vouched and ipaddress.ip_address(one) not in network]
    if outside and outside[0] in _reported(known.get(name, {}), "ExternalIP"):
        return Decision("wait", f"the cloud has not confirmed {outside[0]} as a floating IP of {name}")
    if outside:
        return Decision("deny", f"{outside[0]} is not within the nodes' network {node_cidr}")
    owners = {other: _reported(one, "InternalIP") for other, one in known.items()}
    taken = [(one, other) for other, own in owners.items() if other != name for one in asked.addresses if one in own]
    if taken:
        return Decision("deny", f"{taken[0][0]} is the address of {taken[0][1]}")
    missing = [one for one in asked.addresses if one not in owners.get(name, set()) | vouched]
    if missing:
        return Decision("wait", f"{name} has not reported the address {missing[0]}")
    return Decision("approve", f"the name and all addresses are those of {name}")


def _reported(node: Object, kind: str) -> set[str]:
    addresses = (node.get("status") or {}).get("addresses") or []
    return {one["address"] for one in addresses if one["type"] == kind}


def _vouched(node: Object) -> set[str]:
    labels = (node.get("metadata") or {}).get("labels") or {}
    return external_ips(labels)
