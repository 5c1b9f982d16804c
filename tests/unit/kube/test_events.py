"""One Event for the same words, with a count."""

from __future__ import annotations

import pytest

from moorage.kube.events import Recorder
from moorage.kube.memory_objects import MemoryObjects
from moorage.kube.objects import EVENTS, NODES

pytestmark = pytest.mark.unit


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def api():
    return MemoryObjects()


@pytest.fixture
def node(api):
    return api.create(NODES, {"metadata": {"name": "a"}})


@pytest.fixture
def recorder(api, clock):
    return Recorder(api, "moorage-controller", lambda: clock[0])


def events(api):
    return [(e["reason"], e["count"]) for e in api.list(EVENTS).items]


def test_the_same_words_are_counted_and_written_once_a_minute(api, node, recorder, clock):
    for _ in range(5):
        recorder.say(node, "CloudAway", "Nova does not answer")
    assert events(api) == [("CloudAway", 1)]
    clock[0] = 60
    recorder.say(node, "CloudAway", "Nova does not answer")
    assert events(api) == [("CloudAway", 6)]
    recorder.say(node, "CloudAway", "Keystone does not answer")
    assert events(api) == [("CloudAway", 6), ("CloudAway", 1)]


def test_an_event_says_about_whom(api, node, recorder):
    recorder.say(node, "Ready", "good", "Normal")
    event = api.list(EVENTS).items[0]
    assert event["involvedObject"] == {
        "kind": "Node",
        "apiVersion": "v1",
        "name": "a",
        "uid": node["metadata"]["uid"],
    }
    assert (event["type"], event["metadata"]["namespace"]) == ("Normal", "default")


def test_an_event_that_the_api_dropped_is_recreated(api, node, recorder, clock):
    recorder.say(node, "CloudAway", "x")
    event = api.list(EVENTS).items[0]
    api.delete(EVENTS, f"default/{event['metadata']['name']}")
    clock[0] = 61
    recorder.say(node, "CloudAway", "x")
    assert events(api) == [("CloudAway", 1)]


def test_an_api_that_is_away_does_not_stop_the_one_who_says_it(api, node, recorder):
    api.away = "down"
    recorder.say(node, "CloudAway", "x")
    api.away = ""
    recorder.say(node, "CloudAway", "x")
    assert events(api) == [("CloudAway", 1)]
