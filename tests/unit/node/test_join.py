"""Discovery: the token proves the CA, and nothing else does."""

from __future__ import annotations

import base64
import datetime
import json
from dataclasses import replace

import pytest

from moorage.model import join_token
from moorage.model.errors import Failed
from moorage.node import join, objects
from moorage.node.api import path_of
from moorage.node.userdata import Cluster
from moorage.node.waiting import NotYet

pytestmark = pytest.mark.unit

CA = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
CLUSTER = Cluster(
    name="demo",
    api_address="10.0.0.10",
    api_public_address="",
    pod_cidr="10.244.0.0/16",
    service_cidr="10.96.0.0/16",
    node_cidr="10.0.0.0/24",
    flannel_backend="vxlan",
    bootstrap_token="abcdef.0123456789abcdef",
)


def test_proved_ca_accepts_tokens_signature() -> None:
    assert join.proved_ca(objects.cluster_info(CLUSTER, CA), CLUSTER) == CA


def test_signature_is_a_detached_jws() -> None:
    """Its form: the header of our token, no payload, and a digest of 32 bytes."""
    header = base64.urlsafe_b64decode(objects.signature_header("abcdef") + "==")
    assert json.loads(header) == {"alg": "HS256", "kid": "abcdef"}
    first, middle, last = objects.signature("text", "0123456789abcdef", objects.signature_header("abcdef")).split(".")
    assert (first, middle) == (objects.signature_header("abcdef"), "")
    assert len(base64.urlsafe_b64decode(last + "=")) == 32


def test_proved_ca_rejects_other_secret() -> None:
    info = objects.cluster_info(replace(CLUSTER, bootstrap_token="abcdef.fedcba9876543210"), CA)
    with pytest.raises(Failed, match="does not verify the CA"):
        join.proved_ca(info, CLUSTER)


def test_proved_ca_rejects_changed_ca() -> None:
    info = objects.cluster_info(CLUSTER, CA)
    info["data"]["kubeconfig"] = info["data"]["kubeconfig"].replace("10.0.0.10", "10.0.0.66")
    with pytest.raises(Failed, match="does not verify the CA"):
        join.proved_ca(info, CLUSTER)


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256", "kid": "abcdef"}])
def test_proved_ca_ignores_headers_algorithm(header: dict[str, str]) -> None:
    info = objects.cluster_info(CLUSTER, CA)
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    info["data"]["jws-kubeconfig-abcdef"] = f"{encoded}.."
    with pytest.raises(Failed, match="does not verify the CA"):
        join.proved_ca(info, CLUSTER)


def test_proved_ca_rejects_malformed_signature() -> None:
    info = objects.cluster_info(CLUSTER, CA)
    info["data"]["jws-kubeconfig-abcdef"] += "é"
    with pytest.raises(Failed, match="does not verify the CA"):
        join.proved_ca(info, CLUSTER)


def test_proved_ca_without_signature_waits() -> None:
    with pytest.raises(NotYet, match="not signed for join token abcdef"):
        join.proved_ca(objects.cluster_info(CLUSTER, CA, signed=False), CLUSTER)


def test_granted_waits_for_answer() -> None:
    with pytest.raises(NotYet):
        join.granted({"status": {}})
    denied = {"status": {"conditions": [{"type": "Denied", "message": "no such node"}]}}
    with pytest.raises(Failed, match="no such node"):
        join.granted(denied)
    assert join.granted({"status": {"certificate": base64.b64encode(b"PEM").decode()}}) == "PEM"


def test_objects_of_new_cluster() -> None:
    token = join_token.secret(CLUSTER.bootstrap_token, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    assert token["metadata"]["name"] == "bootstrap-token-abcdef"
    assert token["stringData"]["expiration"] == "2026-01-02T00:00:00Z"
    assert path_of(token) == "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef"
    roles = [path_of(one) for one in objects.access()]
    assert "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/moorage:admins" in roles
    assert all(path_of(one) for one in objects.dns(CLUSTER, forwards=True))


def test_dns_forwards_only_with_servers() -> None:
    def corefile(forwards: bool) -> str:
        made = objects.dns(CLUSTER, forwards)
        text: str = next(one for one in made if one["kind"] == "ConfigMap")["data"]["Corefile"]
        return text

    assert "forward . /etc/resolv.conf" in corefile(True)
    assert "forward ." not in corefile(False)
    service = next(one for one in objects.dns(CLUSTER, True) if one["kind"] == "Service")
    assert service["spec"]["clusterIP"] == "10.96.0.10"
