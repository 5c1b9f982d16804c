"""One Event with a count for the same message."""

from __future__ import annotations

import pytest

from moorage.kube.events import Recorder
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import EVENTS, NODES

pytestmark = pytest.mark.unit


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def api():
    return MemoryKubernetesClient()


@pytest.fixture
def node(api):
    return api.create(NODES, {"metadata": {"name": "a"}})


@pytest.fixture
def recorder(api, clock):
    return Recorder(api, "moorage-controller", lambda: clock[0])


def events(api):
    return [(e["reason"], e["count"]) for e in api.list(EVENTS).items]


def test_same_event_is_counted_and_written_once_a_minute(api, node, recorder, clock):
    for _ in range(5):
        recorder.event(node, "CloudUnreachable", "Nova does not answer")
    assert events(api) == [("CloudUnreachable", 1)]
    clock[0] = 60
    recorder.event(node, "CloudUnreachable", "Nova does not answer")
    assert events(api) == [("CloudUnreachable", 6)]
    recorder.event(node, "CloudUnreachable", "Keystone does not answer")
    assert events(api) == [("CloudUnreachable", 6), ("CloudUnreachable", 1)]


def test_event_names_its_object(api, node, recorder):
    recorder.event(node, "Ready", "good", "Normal")
    event = api.list(EVENTS).items[0]
    assert event["involvedObject"] == {
        "kind": "Node",
        "apiVersion": "v1",
        "name": "a",
        "uid": node["metadata"]["uid"],
    }
    assert (event["type"], event["metadata"]["namespace"]) == ("Normal", "default")


def test_expired_event_is_recreated(api, node, recorder, clock):
    recorder.event(node, "CloudUnreachable", "x")
    event = api.list(EVENTS).items[0]
    api.delete(EVENTS, f"default/{event['metadata']['name']}")
    clock[0] = 61
    recorder.event(node, "CloudUnreachable", "x")
    assert events(api) == [("CloudUnreachable", 1)]


def test_unreachable_api_does_not_raise(api, node, recorder):
    api.unreachable = "down"
    recorder.event(node, "CloudUnreachable", "x")
    api.unreachable = ""
    recorder.event(node, "CloudUnreachable", "x")
    assert events(api) == [("CloudUnreachable", 1)]
