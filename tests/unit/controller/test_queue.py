"""The work queue: each key once, one worker per key, growing delays."""

from __future__ import annotations

from threading import Thread

import pytest

from moorage.controller.queue import Backoff, WorkQueue
from waiting import until

pytestmark = pytest.mark.unit


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def queue(now):
    return WorkQueue(Backoff(1.0, 8.0), lambda: now[0], lambda: 1.0)


def test_key_is_queued_once(queue):
    for key in ("a", "b", "a"):
        queue.add(key)
    assert queue.depth == 2
    assert [queue.take(0), queue.take(0), queue.take(0)] == ["a", "b", None]


def test_key_in_progress_waits_for_its_worker(queue):
    queue.add("a")
    assert queue.take(0) == "a"
    queue.add("a")
    assert (queue.take(0), queue.depth) == (None, 0)
    queue.done("a")
    assert queue.take(0) == "a"
    queue.done("a")
    assert queue.take(0) is None


def test_delayed_key_comes_earlier_when_added(queue, now):
    queue.add("a", after=10)
    assert queue.take(0) is None
    queue.add("a", after=20)
    now[0] = 10
    assert queue.take(0) == "a"
    queue.done("a", again=10)
    queue.add("a")
    assert queue.take(0) == "a"
    queue.done("a")
    now[0] = 100
    assert queue.take(0) is None, "the earlier addition replaced the later one"


def test_backoff_doubles_up_to_longest_and_resets(queue, now):
    queue.add("a")
    pauses = []
    for _ in range(5):
        assert queue.take(0) == "a"
        pauses.append(queue.failed("a"))
        assert queue.take(0) is None
        now[0] += pauses[-1]
    assert pauses == [1, 2, 4, 8, 8]
    queue.take(0)
    queue.done("a", again=0)
    queue.take(0)
    assert queue.failed("a") == 1


def test_failing_key_does_not_block_others(queue):
    queue.add("bad")
    queue.add("good")
    queue.take(0)
    queue.failed("bad")
    assert queue.take(0) == "good"


def test_jitter_is_up_to_half():
    assert [Backoff(1.0, 8.0).pause(2, jitter) for jitter in (0, 0.5, 1)] == [1.0, 1.5, 2.0]
    assert Backoff(1.0, 8.0).pause(10_000, 1) == 8.0


def test_waiting_worker_is_woken_by_add_and_stop():
    queue, taken = WorkQueue(), []
    thread = Thread(target=lambda: taken.extend(iter(queue.take, None)))
    thread.start()
    queue.add("a", after=0.05)
    queue.add("b")
    until(lambda: len(taken) == 2, seconds=5)
    queue.stop()
    thread.join(5)
    assert (taken, thread.is_alive()) == (["b", "a"], False)
