"""The real adapter's requests and errors, with responses in the API's shapes."""

from __future__ import annotations

import json

import httpx2
import pytest

from moorage.kube.http import HttpKubernetesClient
from moorage.kube.port import ENDPOINT_SLICES, NODES, SERVICES, path_of
from moorage.model.errors import BadInput, Conflict, Expired, KubernetesUnreachable, NotFound

pytestmark = pytest.mark.unit


def api(respond):
    """The adapter with a transport that answers with `respond(request)`."""
    return HttpKubernetesClient(httpx2.Client(base_url="https://api", transport=httpx2.MockTransport(respond)))


def status(code, message="no"):
    return httpx2.Response(code, json={"kind": "Status", "code": code, "message": message})


@pytest.mark.parametrize(
    ("resource", "key", "path"),
    [
        (NODES, "", "/api/v1/nodes"),
        (NODES, "a", "/api/v1/nodes/a"),
        (SERVICES, "", "/api/v1/services"),
        (SERVICES, "web/front", "/api/v1/namespaces/web/services/front"),
        (ENDPOINT_SLICES, "web/x", "/apis/discovery.k8s.io/v1/namespaces/web/endpointslices/x"),
    ],
)
def test_path_of_objects(resource, key, path):
    assert path_of(resource, key) == path


def test_list_follows_pages():
    pages = {
        None: {"metadata": {"resourceVersion": "7", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]},
        "next": {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]},
    }
    listed = api(lambda request: httpx2.Response(200, json=pages[request.url.params.get("continue")])).list(NODES)
    assert listed.version == "7"
    assert [(item["kind"], item["metadata"]["name"]) for item in listed.items] == [("Node", "a"), ("Node", "b")]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (404, NotFound),
        (409, Conflict),
        (422, BadInput),
        (401, KubernetesUnreachable),
        (429, KubernetesUnreachable),
        (500, KubernetesUnreachable),
    ],
)
def test_rejections_become_errors(code, error):
    with pytest.raises(error, match="said so"):
        api(lambda _: status(code, "said so")).patch(NODES, "a", {})


def test_response_without_json_is_unreachable():
    with pytest.raises(KubernetesUnreachable):
        api(lambda _: httpx2.Response(200, text="<html>")).get(NODES, "a")
    with pytest.raises(KubernetesUnreachable, match="502: bad gateway"):
        api(lambda _: httpx2.Response(502, text="bad gateway")).get(NODES, "a")


def test_timeouts_and_refused_connections_are_unreachable():
    def fail(_):
        raise httpx2.ReadTimeout("timed out")

    with pytest.raises(KubernetesUnreachable, match="timed out"):
        api(fail).list(NODES)
    with pytest.raises(KubernetesUnreachable, match="timed out"):
        list(api(fail).watch(NODES, "1", 1))


def lines(*events):
    return httpx2.Response(200, text="".join(json.dumps(event) + "\n" for event in events))


def test_expired_version_raises_in_both_forms():
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    for respond in (lines(expired), status(410, "too old resource version")):
        with pytest.raises(Expired, match="too old"):
            list(api(lambda _, respond=respond: respond).watch(NODES, "1", 1))


def test_changes_before_watch_error_are_returned():
    def broken():
        yield json.dumps({"type": "ADDED", "object": {"metadata": {"name": "a"}}}).encode() + b"\n"
        raise httpx2.RemoteProtocolError("peer closed the connection")

    class Stream(httpx2.SyncByteStream):
        def __iter__(self):
            return broken()

    watch = api(lambda _: httpx2.Response(200, stream=Stream())).watch(NODES, "1", 1)
    assert next(watch).object["metadata"]["name"] == "a"
    with pytest.raises(KubernetesUnreachable, match="peer closed"):
        next(watch)


def test_delete_sends_uid_and_ignores_missing():
    requests = []
    api(lambda request: requests.append(request) or status(404)).delete(NODES, "a", "u-1")
    assert json.loads(requests[0].content)["preconditions"] == {"uid": "u-1"}


def test_connect_with_invalid_kubeconfig_is_rejected(tmp_path):
    with pytest.raises(BadInput, match="not a kubeconfig"):
        HttpKubernetesClient.from_file(tmp_path / "missing")
    (tmp_path / "k").write_text("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n")
    with pytest.raises(BadInput):
        HttpKubernetesClient.from_file(tmp_path / "k")
