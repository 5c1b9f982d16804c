"""The Kubernetes port: a real API server and the one in memory behave the same."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from contextlib import ExitStack

import pytest
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node, Secret

from api_server import RealApi, free_port
from moorage.kube.client import KubeClient
from moorage.kube.memory import MemoryKube
from moorage.kube.port import KubeAccess, KubeNode
from moorage.model.errors import CloudUnreachable

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with ExitStack() as stack:
        api = RealApi(tmp_path_factory.mktemp("api"), stack)
        api.until_ready()
        fill(api.access())
        yield api


def fill(access):
    """Three nodes of which one is ready and one never reported; two Deployments, one of them available."""
    with KubeClient(access) as kube:
        kube.nodes()
        client = kube._client
        for name in ("b", "a", "c"):
            client.create(Node(metadata=ObjectMeta(name=name)))
        for name, ready, message in (("b", "False", "container runtime is down"), ("a", "True", "")):
            condition = {"type": "Ready", "status": ready, "message": message, "reason": "Test"}
            client.patch(Node.Status, name, {"status": {"conditions": [condition]}})
        for name, available in (("coredns", 1), ("other", 0)):
            client.create(deployment(name))
            status = {"availableReplicas": available, "readyReplicas": available, "replicas": 1}
            client.patch(Deployment.Status, name, {"status": status}, namespace="kube-system")


def deployment(name):
    labels = {"app": name}
    template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=PodSpec([Container("c", image="x")]))
    spec = DeploymentSpec(LabelSelector(matchLabels=labels), template)
    return Deployment(metadata=ObjectMeta(name=name, namespace="kube-system"), spec=spec)


@pytest.fixture(params=["memory", "api-server"])
def kube(request):
    if request.param == "api-server":
        with KubeClient(request.getfixturevalue("real").access()) as client:
            yield client
        return
    yield MemoryKube(
        [
            KubeNode("b", False, reason="container runtime is down"),
            KubeNode("a", True),
            KubeNode("c", False, reason="its kubelet has not reported yet"),
        ],
        {("kube-system", "coredns")},
    )


def test_nodes_are_sorted_with_reason_when_not_ready(kube):
    assert [(node.name, node.ready, node.reason) for node in kube.nodes()] == [
        ("a", True, ""),
        ("b", False, "container runtime is down"),
        ("c", False, "its kubelet has not reported yet"),
    ]


def test_available_needs_an_available_replica(kube):
    assert kube.available("kube-system", "coredns")
    assert not kube.available("kube-system", "other")
    assert not kube.available("kube-system", "nothing")
    assert not kube.available("nowhere", "coredns")


def test_update_credential_replaces_secret(kube):
    kube.update_credential("clouds: {}")
    kube.update_credential("clouds: {moorage: {}}")
    if isinstance(kube, KubeClient):
        found = kube._client.get(Secret, "moorage-cloud", namespace="kube-system")
        assert b64decode(found.data["clouds.yaml"]) == b"clouds: {moorage: {}}"
    else:
        assert kube.credential == "clouds: {moorage: {}}"


def test_create_join_token_adds_token(kube):
    for _ in range(2):
        kube.create_join_token("abcdef.0123456789abcdef")
    if isinstance(kube, KubeClient):
        found = kube._client.get(Secret, "bootstrap-token-abcdef", namespace="kube-system")
        assert found.type == "bootstrap.kubernetes.io/token"
        assert b64decode(found.data["token-secret"]) == b"0123456789abcdef"
    else:
        assert set(kube.tokens) == {"abcdef.0123456789abcdef"}


def test_remove_node_deletes_node(kube):
    if isinstance(kube, KubeClient):
        kube.nodes()
        kube._client.create(Node(metadata=ObjectMeta(name="gone")))
    else:
        kube.node_list.append(KubeNode("gone", False))
    assert "gone" in {node.name for node in kube.nodes()}
    for _ in range(2):
        kube.remove_node("gone")
    assert "gone" not in {node.name for node in kube.nodes()}


def test_problem_is_the_controllers_report(kube):
    assert kube.problem() == ""
    if isinstance(kube, KubeClient):
        metadata = ObjectMeta(name="moorage-controller", namespace="kube-system")
        kube._client.create(ConfigMap(metadata=metadata, data={"problem": "revoked"}))
    else:
        kube.cloud_problem = "revoked"
    assert kube.problem() == "revoked"


def test_closed_connection_is_opened_again(kube):
    kube.close()
    assert len(kube.nodes()) == 3


@pytest.fixture(params=["memory", "closed-port", "not-allowed", "another-authority"])
def refused(request):
    if request.param == "memory":
        return MemoryKube(unreachable="the Kubernetes API does not answer at https://127.0.0.1:1")
    real = request.getfixturevalue("real")
    good = real.access()
    access = {
        "closed-port": KubeAccess(f"https://127.0.0.1:{free_port()}", good.ca, good.certificate, good.key),
        "not-allowed": real.access("nobodies"),
        "another-authority": KubeAccess(good.url, real.ca, good.certificate, good.key),
    }
    return KubeClient(access[request.param])


def test_unreachable_or_unauthorized_api_raises(refused):
    with pytest.raises(CloudUnreachable, match="the Kubernetes API"):
        refused.nodes()
    with pytest.raises(CloudUnreachable, match="the Kubernetes API"):
        refused.available("kube-system", "coredns")
    refused.close()


def test_client_library_is_imported_lazily():
    modules = "moorage.kube.client, moorage.cloud.openstack.cloud"
    code = f"import sys, {modules}; print(*{{'lightkube', 'openstack'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
