"""What `clusters.kubernetes` asks and gives: a real API server and the one in memory behave the same."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from contextlib import ExitStack

import pytest

from api_server import RealApi, free_port
from moorage.clusters import kubernetes
from moorage.kube.http import HttpKubernetesClient
from moorage.kube.kubeconfig import KubeAccess
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS, SECRETS, Resource
from moorage.model.errors import Conflict, KubernetesUnreachable

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with ExitStack() as stack:
        server = RealApi(tmp_path_factory.mktemp("api"), stack)
        server.until_ready()
        api = HttpKubernetesClient.from_access(server.access())
        fill(api)
        api.close()
        yield server


def fill(api):
    """Three nodes of which one is ready and one never reported; two Deployments, one of them available."""
    for name in ("b", "a", "c"):
        api.create(NODES, {"metadata": {"name": name}})
    for name, ready, message in (("b", "False", "container runtime is down"), ("a", "True", "")):
        condition = {"type": "Ready", "status": ready, "message": message, "reason": "Test"}
        api.patch(NODES, name, {"status": {"conditions": [condition]}}, status=True)
    for name, available in (("coredns", 1), ("other", 0)):
        api.create(DEPLOYMENTS, deployment(name))
        status = {"availableReplicas": available, "readyReplicas": available, "replicas": 1}
        api.patch(DEPLOYMENTS, f"kube-system/{name}", {"status": status}, status=True)


def deployment(name):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name, "namespace": "kube-system"}, "spec": spec}


@pytest.fixture(params=["memory", "api-server"])
def api(request):
    if request.param == "memory":
        api = MemoryKubernetesClient()
        fill(api)
    else:
        api = HttpKubernetesClient.from_access(request.getfixturevalue("real").access())
    yield api
    api.close()


def data(api, secret):
    return {key: b64decode(text).decode() for key, text in api.get(SECRETS, secret)["data"].items()}


def test_nodes_are_sorted_with_reason_when_not_ready(api):
    assert [(node.name, node.ready, node.reason) for node in kubernetes.nodes(api)] == [
        ("a", True, ""),
        ("b", False, "container runtime is down"),
        ("c", False, "its kubelet has not reported yet"),
    ]


def test_is_available_needs_an_available_replica(api):
    assert kubernetes.is_available(api, "kube-system/coredns")
    assert not kubernetes.is_available(api, "kube-system/other")
    assert not kubernetes.is_available(api, "kube-system/nothing")
    assert not kubernetes.is_available(api, "nowhere/coredns")


def test_update_credential_replaces_secret(api):
    kubernetes.update_credential(api, "clouds: {}")
    kubernetes.update_credential(api, "clouds: {moorage: {}}")
    assert data(api, "kube-system/moorage-cloud") == {"clouds.yaml": "clouds: {moorage: {}}"}


def test_create_join_token_adds_token(api):
    for _ in range(2):
        kubernetes.create_join_token(api, "abcdef.0123456789abcdef")
    found = data(api, "kube-system/bootstrap-token-abcdef")
    assert api.get(SECRETS, "kube-system/bootstrap-token-abcdef")["type"] == "bootstrap.kubernetes.io/token"
    assert (found["token-id"], found["token-secret"]) == ("abcdef", "0123456789abcdef")


def test_problem_is_the_controllers_report(api):
    assert kubernetes.problem(api) == ""
    metadata = {"name": "moorage-controller", "namespace": "kube-system"}
    api.create(CONFIG_MAPS, {"metadata": metadata, "data": {"problem": "revoked"}})
    assert kubernetes.problem(api) == "revoked"


@pytest.fixture(params=["memory", "closed-port", "not-allowed", "another-authority"])
def refused(request):
    if request.param == "memory":
        api = MemoryKubernetesClient()
        api.unreachable = "the Kubernetes API does not answer at https://127.0.0.1:1"
        return api
    real = request.getfixturevalue("real")
    good = real.access()
    access = {
        "closed-port": KubeAccess(f"https://127.0.0.1:{free_port()}", good.ca, good.certificate, good.key),
        "not-allowed": real.access("nobodies"),
        "another-authority": KubeAccess(good.url, real.ca, good.certificate, good.key),
    }
    return HttpKubernetesClient.from_access(access[request.param])


def test_unreachable_or_unauthorized_api_raises(refused):
    with pytest.raises(KubernetesUnreachable, match="the Kubernetes API"):
        kubernetes.nodes(refused)
    with pytest.raises(KubernetesUnreachable, match="the Kubernetes API"):
        kubernetes.is_available(refused, "kube-system/coredns")
    refused.close()


def test_client_libraries_are_imported_lazily():
    modules = "moorage.kube.http, moorage.cloud.openstack.cloud"
    code = f"import sys, {modules}; print(*{{'lightkube', 'openstack'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


BUDGETS = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
ACCOUNTS = Resource("v1", "serviceaccounts", "ServiceAccount")


def test_evict_deletes_pod_unless_a_budget_forbids_it(api):
    metadata = {"namespace": "kube-system", "name": "web", "labels": {"app": "web"}}
    container = {"name": "c", "image": "x"}
    api.create(ACCOUNTS, {"metadata": {"namespace": "kube-system", "name": "default"}})
    api.create(PODS, {"metadata": metadata, "spec": {"nodeName": "a", "containers": [container]}})
    api.patch(PODS, "kube-system/web", {"status": {"phase": "Running"}}, status=True)
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    api.create(BUDGETS, {"metadata": {"namespace": "kube-system", "name": "web"}, "spec": budget})
    if isinstance(api, MemoryKubernetesClient):
        api.budgets["kube-system/web"] = "The disruption budget web is still being processed by the server."
    with pytest.raises(Conflict, match="The disruption budget web"):
        api.evict("kube-system/web")
    assert "deletionTimestamp" not in api.get(PODS, "kube-system/web")["metadata"]
    assert api.last_log_line("kube-system/web") == api.last_log_line("kube-system/missing") == "", "it never ran"
    api.delete(BUDGETS, "kube-system/web")
    if isinstance(api, MemoryKubernetesClient):
        api.budgets.clear()
    api.evict("kube-system/web")
    pod = api.get(PODS, "kube-system/web")
    assert pod is None or "deletionTimestamp" in pod["metadata"]
    api.evict("kube-system/missing")
