"""Listeners of the in-process transport wake when a message is delivered."""

import threading
import time

import pytest

from moorage.local.serve.messaging import Deliveries

pytestmark = pytest.mark.unit


def test_earlier_delivery_is_seen_at_once():
    deliveries = Deliveries()
    last_count = deliveries.count
    deliveries.add()
    started = time.monotonic()
    deliveries.wait_beyond(last_count, 5)
    assert time.monotonic() - started < 1


def test_delivery_wakes_listener():
    deliveries = Deliveries()
    threading.Timer(0.05, deliveries.add).start()
    started = time.monotonic()
    deliveries.wait_beyond(0, 5)
    assert time.monotonic() - started < 2


def test_wait_without_delivery_times_out():
    started = time.monotonic()
    Deliveries().wait_beyond(0, 0.05)
    assert 0.04 < time.monotonic() - started < 1
