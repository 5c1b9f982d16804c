"""The informer stays up to date whatever happens to its watches."""

from __future__ import annotations

from functools import partial
from threading import Event

import pytest

import waiting
from moorage.kube import informer as module
from moorage.kube.informer import Informer, Reflector, wait_ready
from moorage.kube.memory import MemoryKubernetesClient
from moorage.kube.port import NODES, SERVICES, SNAPSHOT_CONTENTS
from moorage.kube.store import Store
from moorage.model.errors import KubernetesUnreachable

pytestmark = pytest.mark.unit
until = partial(waiting.until, seconds=5, pause=0.01)


def node(name, **labels):
    return {"metadata": {"name": name, "labels": labels}}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def api():
    return MemoryKubernetesClient()


@pytest.fixture
def handler():
    return []


@pytest.fixture
def cache(api, handler):
    stop = Event()
    cache = Informer(api)
    cache.add_handler(NODES, lambda obj: handler.append(obj["metadata"]["name"]))
    cache.start(stop)
    wait_ready(cache, stop, 5)
    yield cache
    stop.set()
    api.cut_watches()


def names(cache):
    return sorted(obj["metadata"]["name"] for obj in cache.store(NODES).all())


def test_informer_handles_added_changed_and_deleted(api, cache, handler):
    api.create(NODES, node("a"))
    until(lambda: names(cache) == ["a"])
    api.patch(NODES, "a", {"metadata": {"labels": {"x": "1"}}})
    until(lambda: cache.get(NODES, "a")["metadata"]["labels"] == {"x": "1"})
    api.delete(NODES, "a")
    until(lambda: names(cache) == [])
    assert handler == ["a", "a", "a"]
    assert cache.alive()


def test_interrupted_watch_resumes_without_list(api, cache):
    api.cut_watches()
    api.create(NODES, node("a"))
    until(lambda: names(cache) == ["a"])
    assert api.calls.count("list nodes") == 1


def test_expired_version_lists_again_and_reports_deleted(api, cache, handler):
    api.create(NODES, node("old"))
    until(lambda: names(cache) == ["old"])
    api.unreachable = "restarting"
    api.cut_watches()
    api.unreachable = ""
    api.delete(NODES, "old")
    api.create(NODES, node("new"))
    api.forget()
    until(lambda: names(cache) == ["new"])
    assert handler[0] == "old"
    assert handler[-1] == "new"
    assert handler.count("old") == 2


def test_list_again_after_api_lost_history(api, handler):
    store = Store()
    reflector = Reflector(api, NODES, store, lambda obj: handler.append(obj["metadata"]["name"]), version="0")
    store.put({"metadata": {"name": "gone", "resourceVersion": "1"}})
    api.create(NODES, node("a"))
    api.forget()
    assert reflector.step() > 0
    assert reflector.version == ""
    reflector._relist()
    assert (handler, store.keys()) == (["gone", "a"], {"a"})
    reflector._relist()
    assert handler == ["gone", "a"], "an unchanged object is not handled again"


def test_delays_grow_up_to_limit_while_api_is_unreachable(api):
    api.unreachable = "down"
    reflector = Reflector(api, NODES, Store(), lambda _: None, jitter=lambda: 1.0)
    assert [round(reflector.step(), 3) for _ in range(5)] == [0.01, 0.02, 0.04, 0.05, 0.05]


def test_wait_ready_with_unreachable_api_raises(api):
    api.unreachable = "down"
    cache, stop = Informer(api), Event()
    cache.store(SERVICES)
    with pytest.raises(KubernetesUnreachable, match="no lists"):
        wait_ready(cache, stop, 0.1)


def test_index_follows_objects():
    store = Store()
    store.put({"metadata": {"name": "a", "labels": {"zone": "x"}}})
    store.add_index("zone", lambda obj: [obj["metadata"]["labels"]["zone"]])
    store.put({"metadata": {"name": "b", "labels": {"zone": "x"}}})
    assert [obj["metadata"]["name"] for obj in store.by("zone", "x")] == ["a", "b"]
    store.put({"metadata": {"name": "a", "labels": {"zone": "y"}}})
    store.drop("b")
    assert store.by("zone", "x") == []
    assert [obj["metadata"]["name"] for obj in store.by("zone", "y")] == ["a"]


def test_store_drops_unused_fields():
    store = Store()
    store.put({"metadata": {"name": "a", "managedFields": [1]}, "status": {"images": [1], "addresses": []}})
    assert store.get("a") == {"metadata": {"name": "a"}, "status": {"addresses": []}}


def test_optional_resource_does_not_delay_ready(api):
    stop, cache = Event(), Informer(api)
    cache.store(NODES)
    contents = cache.store(SNAPSHOT_CONTENTS)
    cache.start(stop)
    wait_ready(cache, stop, 5)
    assert contents.all() == []
    api.defined.add(SNAPSHOT_CONTENTS)
    api.create(SNAPSHOT_CONTENTS, {"metadata": {"name": "one"}})
    until(lambda: len(contents.all()) == 1)
    assert cache.alive()
    stop.set()
    api.cut_watches()
