"""The controller's metrics, health and logs."""

from __future__ import annotations

import io
import json
import logging
import urllib.error
import urllib.request

import pytest

from moorage.cloud.memory.servers import MemoryServers
from moorage.controller.health import Endpoints, serve
from moorage.controller.logs import JsonLines
from moorage.controller.metrics import Metrics, count_calls
from moorage.model.errors import BadInput, CloudUnreachable

pytestmark = pytest.mark.unit


@pytest.fixture
def metrics():
    return Metrics()


def calls(metrics, operation, result):
    return metrics.registry.get_sample_value("moorage_cloud_calls_total", {"operation": operation, "result": result})


def test_calls_are_counted_by_operation_and_result(metrics):
    cloud = MemoryServers()
    port = count_calls(cloud, "servers", metrics.record_call)
    assert port.list("demo") == []
    port.get("x")
    cloud.unreachable = "down"
    with pytest.raises(CloudUnreachable):
        port.list("demo")
    assert calls(metrics, "servers.list", "ok") == 1
    assert calls(metrics, "servers.list", "CloudUnreachable") == 1
    assert calls(metrics, "servers.get", "ok") == 1
    assert port.unreachable == "down"


@pytest.fixture
def state():
    return {"healthy": True, "ready": False}


@pytest.fixture
def url(metrics, state):
    with serve(Endpoints(lambda: state["healthy"], lambda: state["ready"], metrics), 0) as port:
        yield f"http://127.0.0.1:{port}"


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_readiness_and_metrics_are_served(url, metrics, state):
    assert get(f"{url}/healthz") == (200, "ok\n")
    assert get(f"{url}/readyz")[0] == 503
    state.update(healthy=False, ready=True)
    assert get(f"{url}/healthz")[0] == 503
    assert get(f"{url}/readyz")[0] == 200
    metrics.record_call("servers.list", "ok", 0.1)
    assert 'moorage_cloud_calls_total{operation="servers.list",result="ok"} 1.0' in get(f"{url}/metrics")[1]
    assert get(f"{url}/other")[0] == 404


def test_used_port_is_reported(url, metrics):
    port = int(url.rpartition(":")[2])
    endpoints = Endpoints(lambda: True, lambda: True, metrics)
    with pytest.raises(BadInput, match="cannot listen"), serve(endpoints, port):
        pytest.fail("two servers have one port")


def test_log_line_is_one_json_object():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    log = logging.Logger("moorage.test")
    log.addHandler(handler)
    log.warning("it is %s\nnot well", "really", extra={"key": "a", "controller": "nodes"})
    [line] = stream.getvalue().splitlines()
    reported = json.loads(line)
    assert (reported["level"], reported["message"]) == ("warning", "it is really\nnot well")
    assert (reported["key"], reported["controller"]) == ("a", "nodes")
    assert reported["time"].endswith("+00:00")
