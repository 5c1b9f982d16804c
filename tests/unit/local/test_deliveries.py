"""Listeners of the in-process transport wake when something is delivered."""

import threading
import time

import pytest

from moorage.local.serve.messaging import Deliveries

pytestmark = pytest.mark.unit


def test_what_came_since_is_seen_at_once():
    deliveries = Deliveries()
    seen = deliveries.count
    deliveries.add()
    started = time.monotonic()
    deliveries.wait_beyond(seen, 5)
    assert time.monotonic() - started < 1


def test_a_sleeping_listener_wakes():
    deliveries = Deliveries()
    threading.Timer(0.05, deliveries.add).start()
    started = time.monotonic()
    deliveries.wait_beyond(0, 5)
    assert time.monotonic() - started < 2


def test_nothing_delivered_ends_in_time():
    started = time.monotonic()
    Deliveries().wait_beyond(0, 0.05)
    assert 0.04 < time.monotonic() - started < 1
