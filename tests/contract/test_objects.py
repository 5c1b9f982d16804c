"""The port for any Kubernetes object: a real API server and the one in memory behave the same."""

from __future__ import annotations

import base64
import json
import time
from contextlib import ExitStack, suppress
from threading import Event, Thread

import pytest

from api_server import RealApi
from moorage.ccm.nodes.certificates import Decision, answer
from moorage.ccm.nodes.identity import Place
from moorage.ccm.nodes.plan import UNINITIALIZED
from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.port.servers import Address, Server
from moorage.controller.main import Project, Settings, compose
from moorage.kube import informer
from moorage.kube.http import HttpKubernetesClient
from moorage.kube.kubeconfig import with_only
from moorage.kube.lease import Elector
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import (
    EVENTS,
    LEASES,
    NODES,
    PERSISTENT_VOLUMES,
    PODS,
    SIGNING_REQUESTS,
    SNAPSHOT_CONTENTS,
    STORAGE_CLASSES,
    Resource,
)
from moorage.model.errors import Conflict, KubernetesUnreachable, NotFound
from moorage.node.pki import Subject, new_request
from waiting import until

pytestmark = pytest.mark.contract
SERVICE_ACCOUNTS = Resource("v1", "serviceaccounts", "ServiceAccount")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("api")
        server = RealApi(folder, stack)
        server.until_ready()
        (folder / "kubeconfig").write_text(json.dumps(with_only("test", server.access())))
        yield folder / "kubeconfig"


@pytest.fixture(params=["memory", "api-server"])
def api(request):
    if request.param == "memory":
        yield MemoryKubernetesClient()
        return
    api = HttpKubernetesClient.from_file(request.getfixturevalue("real"))
    yield api
    for node in api.list(NODES).items:
        api.patch(NODES, node["metadata"]["name"], {"metadata": {"finalizers": None}})
        api.delete(NODES, node["metadata"]["name"])
    api.close()


def node(name="a", **spec):
    return {"metadata": {"name": name}, "spec": spec}


def test_created_object_is_found_by_key_and_list(api):
    created = api.create(NODES, node())
    assert created["metadata"]["uid"]
    found = api.get(NODES, "a")
    assert (found["kind"], found["apiVersion"]) == ("Node", "v1")
    [listed] = api.list(NODES).items
    assert (listed["kind"], listed["metadata"]["uid"]) == ("Node", created["metadata"]["uid"])
    assert api.get(NODES, "b") is None
    with pytest.raises(Conflict):
        api.create(NODES, node())


def test_approval_replaces_conditions_only(api):
    pem = new_request(Subject("system:node:a", "system:nodes")).certificate
    spec = {
        "signerName": "kubernetes.io/kubelet-serving",
        "request": base64.b64encode(pem.encode()).decode(),
        "usages": ["digital signature", "server auth"],
    }
    created = api.create(SIGNING_REQUESTS, {"metadata": {"name": "csr-a"}, "spec": spec})
    try:
        approved = answer(created, Decision("approve", "its own"))
        api.replace(SIGNING_REQUESTS, {**approved, "spec": {**created["spec"], "usages": ["any"]}}, "approval")
        found = api.get(SIGNING_REQUESTS, "csr-a")
        assert found["spec"]["usages"] == spec["usages"]
        (condition,) = found["status"]["conditions"]
        assert (condition["type"], condition["message"]) == ("Approved", "its own")
    finally:
        api.delete(SIGNING_REQUESTS, "csr-a")
    with pytest.raises(NotFound):
        api.replace(SIGNING_REQUESTS, approved, "approval")


def test_list_pods_of_node_and_delete_at_once(api):
    for name, node_name in (("one", "a"), ("two", "b")):
        spec = {
            "nodeName": node_name,
            "containers": [{"name": "c", "image": "x"}],
            "automountServiceAccountToken": False,
        }
        ensure_default_service_account(api)
        api.create(PODS, {"metadata": {"namespace": "default", "name": name}, "spec": spec})
    [found] = api.list(PODS, "spec.nodeName=a").items
    assert found["metadata"]["name"] == "one"
    api.delete(PODS, "default/one")
    assert api.get(PODS, "default/one")["metadata"]["deletionTimestamp"], "its kubelet has not reported that it ended"
    for name in ("one", "two"):
        api.delete(PODS, f"default/{name}", at_once=True)
    assert api.list(PODS).items == ()


def ensure_default_service_account(api):
    """Create the account that the controller manager creates, which does not run here."""
    with suppress(Conflict):
        api.create(SERVICE_ACCOUNTS, {"metadata": {"namespace": "default", "name": "default"}})


def test_patch_merges_and_null_removes(api):
    api.create(NODES, node(taints=[{"key": "x", "effect": "NoSchedule"}]))
    api.patch(NODES, "a", {"metadata": {"labels": {"one": "1", "two": "2"}}})
    patched = api.patch(
        NODES, "a", {"metadata": {"labels": {"one": None}}, "spec": {"taints": None, "providerID": "p"}}
    )
    assert patched["metadata"]["labels"] == {"two": "2"}
    assert patched["spec"]["providerID"] == "p"
    assert not patched["spec"].get("taints")
    with pytest.raises(NotFound):
        api.patch(NODES, "b", {"spec": {}})


def test_patch_separates_status_from_spec(api):
    api.create(NODES, node())
    addresses = [{"type": "InternalIP", "address": "10.0.0.1"}]
    api.patch(NODES, "a", {"status": {"addresses": addresses}, "metadata": {"labels": {"x": "y"}}})
    assert "addresses" not in api.get(NODES, "a").get("status", {})
    api.patch(NODES, "a", {"status": {"addresses": addresses}, "spec": {"providerID": "p"}}, status=True)
    found = api.get(NODES, "a")
    assert found["status"]["addresses"] == addresses
    assert "providerID" not in found["spec"]
    shorter = [{"type": "Hostname", "address": "a"}]
    assert api.patch(NODES, "a", {"status": {"addresses": shorter}}, status=True)["status"]["addresses"] == shorter


def test_stale_version_conflicts_and_noop_keeps_version(api):
    created = api.create(NODES, node())
    old = created["metadata"]["resourceVersion"]
    new = api.patch(NODES, "a", {"metadata": {"resourceVersion": old, "labels": {"x": "1"}}})
    with pytest.raises(Conflict):
        api.patch(NODES, "a", {"metadata": {"resourceVersion": old, "labels": {"x": "2"}}})
    same = api.patch(NODES, "a", {"metadata": {"labels": {"x": "1"}}})
    assert same["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        api.replace(NODES, created)


def test_delete_waits_for_finalizers_and_checks_uid(api):
    created = api.create(NODES, {"metadata": {"name": "a", "finalizers": ["moorage.test/one"]}})
    with pytest.raises(Conflict):
        api.delete(NODES, "a", "another-uid")
    api.delete(NODES, "a", created["metadata"]["uid"])
    assert api.get(NODES, "a")["metadata"]["deletionTimestamp"]
    api.patch(NODES, "a", {"metadata": {"finalizers": None}})
    assert api.get(NODES, "a") is None
    api.delete(NODES, "a")


def test_watch_returns_changes_since_version(api):
    api.create(NODES, node("old"))
    since = api.list(NODES).version
    api.create(NODES, node("a"))
    api.patch(NODES, "a", {"metadata": {"labels": {"x": "1"}}})
    api.delete(NODES, "a")
    changes = [change for change in api.watch(NODES, since, 1) if change.type != "BOOKMARK"]
    assert [(change.type, change.object["metadata"]["name"]) for change in changes] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]
    later = api.watch(NODES, changes[1].object["metadata"]["resourceVersion"], 1)
    assert [change.type for change in later if change.type != "BOOKMARK"] == ["DELETED"]


def test_watch_returns_changes_at_once(api):
    received = []
    since = api.list(NODES).version
    thread = Thread(target=lambda: received.append((next(iter(api.watch(NODES, since, 5))), time.monotonic())))
    thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    api.create(NODES, node("a"))
    thread.join(10)
    assert received[0][0].object["metadata"]["name"] == "a"
    assert received[0][1] - started < 1


def test_list_undefined_resource_is_not_found(api):
    with pytest.raises(NotFound):
        api.list(SNAPSHOT_CONTENTS)
    with pytest.raises(NotFound):
        next(iter(api.watch(SNAPSHOT_CONTENTS, "1", 1)))
    assert api.list(STORAGE_CLASSES).items == api.list(PERSISTENT_VOLUMES).items == ()


def test_only_one_candidate_holds_the_lease(api):
    one, two = (Elector(api, "default/moorage-test", me, time.monotonic) for me in ("one", "two"))
    assert [one.step(), two.step(), one.step()] == [True, False, True]
    one.release()
    assert [two.step(), one.step()] == [True, False]
    two.release()
    assert api.get(LEASES, "default/moorage-test")["spec"].get("holderIdentity", "") == ""


def test_unreachable_api_raises(real, tmp_path):
    config = json.loads(real.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    api = HttpKubernetesClient.from_file(tmp_path / "kubeconfig")
    with pytest.raises(KubernetesUnreachable, match="does not answer"):
        api.list(NODES)
    with pytest.raises(KubernetesUnreachable, match="does not answer"):
        next(iter(api.watch(NODES, "1", 1)))
    api.close()


def test_controller_initializes_nodes(api, monkeypatch):
    monkeypatch.setattr(informer, "WATCH", 2)  # seconds: watches end in the middle, and soon after the test
    address = Address("fixed", "10.0.0.5")
    metadata = {"moorage_cluster": "demo"}
    cloud = MemoryServers(
        Server(f"5f0c-{n}", f"demo-{n}", "ACTIVE", "m1.node", "nova", (address,), metadata) for n in (0, 1)
    )
    controller = compose(
        api,
        Project("R", cloud, MemoryLoadBalancers(), MemoryNetwork()),
        Settings("demo", Place("RegionOne"), "test", 0),
    )
    stop = Event()
    thread = Thread(target=controller.run, args=(stop,))
    thread.start()
    try:
        taint = {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
        api.create(NODES, node("demo-1", taints=[taint]))
        patched = until(lambda: api.get(NODES, "demo-1"), lambda found: found["spec"].get("providerID"), seconds=10)
        assert patched["spec"]["providerID"] == "openstack:///5f0c-1"
        assert UNINITIALIZED not in [taint["key"] for taint in patched["spec"].get("taints", [])]
        assert patched["status"]["addresses"][0] == {"type": "InternalIP", "address": "10.0.0.5"}
        assert patched["metadata"]["labels"]["topology.kubernetes.io/zone"] == "nova"
        del cloud.servers["5f0c-1"]
        until(lambda: api.get(NODES, "demo-1"), lambda found: found is None, seconds=15)
        reported = [
            event["reason"] for event in api.list(EVENTS).items if event["involvedObject"].get("name") == "demo-1"
        ]
        assert reported == ["ServerGone"]
    finally:
        stop.set()
        thread.join(20)
    assert not controller.elector.is_leader
