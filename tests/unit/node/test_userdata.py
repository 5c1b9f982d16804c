"""User data: read into types, or refused by the name of what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moorage.model.errors import BadInput
from moorage.node.userdata import Signal, parse, signal_of

pytestmark = pytest.mark.unit


def document(**changed: Any) -> str:
    cluster = {
        "name": "demo",
        "api_address": "10.0.0.10",
        "api_public_address": "172.24.4.20",
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/16",
        "node_cidr": "10.0.0.0/24",
        "network_driver": "flannel",
        "flannel_backend": "host-gw",
        "bootstrap_token": "abcdef.0123456789abcdef",
        "registry_mirrors": {"*": "http://172.24.4.1:5080"},
    }
    whole: dict[str, Any] = {
        "role": "worker",
        "cluster": cluster | changed.pop("cluster", {}),
        "node": {"group": "workers", "labels": {}},
        "signal": {"endpoint": "http://heat/signal", "token": "t"},
        **changed,
    }
    return f"#moorage-node/v1\n{json.dumps(whole)}"


def test_parse_worker() -> None:
    read = parse(document())
    assert (read.role, read.group, read.ready_timeout) == ("worker", "workers", 600)
    assert (read.cluster.service_address, read.cluster.dns_address) == ("10.96.0.1", "10.96.0.10")
    assert (read.cluster.token_id, read.cluster.token_secret) == ("abcdef", "0123456789abcdef")
    assert read.signal == Signal("http://heat/signal", "t")


def test_parse_control_plane() -> None:
    text = (
        "#moorage-node/v1\nrole: control-plane\ncluster:\n  name: demo\n  api_address: 10.0.0.10\n"
        '  api_public_address: ""\n  pod_cidr: 10.244.0.0/16\n  service_cidr: 10.96.0.0/16\n'
        "  node_cidr: 10.0.0.0/24\n  bootstrap_token: abcdef.0123456789abcdef\n"
        "control_plane:\n  ready_timeout: 30\n  client_csr: |\n    some\n    lines\n"
    )
    read = parse(text)
    assert read.client_csr == "some\nlines\n"
    assert read.ready_timeout == 30
    assert read.cluster.api_public_address == ""
    assert read.cluster.flannel_backend == "vxlan"
    assert read.group == "control-plane"
    assert read.signal is None


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "user data begins with 'nothing'"),
        ("#cloud-config\n", "user data begins with '#cloud-config'"),
        ("#moorage-node/v1\n- a\n", "not a YAML mapping"),
        ("#moorage-node/v1\n{a: [", "not YAML"),
        (document(role="queen"), "role is 'queen': it must be one of control-plane, worker"),
        (document(cluster={"name": "Big"}), "cluster.name is 'Big'"),
        (document(cluster={"api_address": None}), "cluster.api_address is None"),
        (document(cluster={"pod_cidr": "10.244.0.1/16"}), "cluster.pod_cidr is '10.244.0.1/16'"),
        (document(cluster={"network_driver": "ovs"}), "cluster.network_driver is 'ovs'"),
        (document(cluster={"flannel_backend": "udp"}), "flannel_backend is 'udp': it must be one of vxlan, host-gw"),
        (document(node={"group": "A b"}), "node.group is 'A b'"),
        (document(node={"ready_timeout": -1}), "ready_timeout is -1"),
        (document(signal={"endpoint": "ftp://x"}), "signal.endpoint"),
        (document(cluster={"service_cidr": ""}), "cluster.service_cidr is ''"),
    ],
)
def test_parse_rejects_with_reason(text: str, reported: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text)
    assert reported in refused.value.message


def test_parse_does_not_show_token() -> None:
    with pytest.raises(BadInput) as refused:
        parse(document(cluster={"bootstrap_token": "secret-thing"}))
    assert "secret-thing" not in refused.value.message


def test_signal_of_invalid_document() -> None:
    assert signal_of(document(role="queen")) == Signal("http://heat/signal", "t")
    assert signal_of("nothing of use") is None


CLOUD = {"id": "i", "secret": "very secret", "auth_url": "http://172.24.4.1:5000/v3", "region": "RegionOne"}


def test_parse_credential_of_control_plane_is_not_shown() -> None:
    read = parse(document(role="control-plane", cluster={"cloud_provider": "external"}, control_plane={"cloud": CLOUD}))
    assert read.cloud is not None
    assert (read.cloud.id, read.cloud.secret, read.cloud.region) == ("i", "very secret", "RegionOne")
    assert read.cluster.cloud_provider == "external"
    assert "very secret" not in repr(read)
    assert parse(document()).cloud is None
    assert parse(document(control_plane={"cloud": {}})).cloud is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"auth_url": "nowhere"}, "auth_url"),
        ({"secret": ""}, "cloud.secret"),
        ({"id": None}, "cloud.id"),
    ],
)
def test_parse_incomplete_credential_is_rejected(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput, match=named) as refused:
        parse(document(role="control-plane", control_plane={"cloud": CLOUD | changed}))
    assert "very secret" not in refused.value.message


def test_parse_unknown_cloud_provider_is_rejected() -> None:
    with pytest.raises(BadInput, match="cloud_provider is 'aws'"):
        parse(document(cluster={"cloud_provider": "aws"}))


@pytest.mark.parametrize("text", ["hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_damaged_certificates_of_the_cloud_are_rejected(text: str) -> None:
    with pytest.raises(BadInput, match=r"cluster\.cloud_ca has no PEM certificates"):
        parse(document(cluster={"cloud_ca": text}))
