"""oslo.messaging's in-process transport without its 50 ms poll: a delivery wakes the listeners."""

from __future__ import annotations

import threading
import time
from typing import Any

LONGEST_WAIT = 1.0


class Deliveries:
    """Counts deliveries, so that a listener can sleep until the count changes."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def add(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait_beyond(self, last_count: int, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.count != last_count, timeout)


def wake_listeners() -> None:
    """Replace the polling of `fake://` in this process by a condition variable."""
    from oslo_messaging._drivers import base, impl_fake

    deliveries = Deliveries()
    deliver = impl_fake.FakeExchange.deliver_message

    def deliver_and_wake(exchange: Any, *args: Any, **kwargs: Any) -> None:
        deliver(exchange, *args, **kwargs)
        deliveries.add()

    def poll(listener: Any, timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not listener._stopped.is_set():
            last_count = deliveries.count
            if (message := _poll_targets(listener)) is not None:
                return message
            remaining = LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return None
            deliveries.wait_beyond(last_count, min(remaining, LONGEST_WAIT))
        return None

    def _poll_targets(listener: Any) -> Any:
        for target in listener._targets:
            exchange = listener._exchange_manager.get_exchange(target.exchange)
            context, message, reply_queue, requeue = exchange.poll(target, listener._pool)
            if message is not None:
                return impl_fake.FakeIncomingMessage(context, message, reply_queue, requeue)
        return None

    impl_fake.FakeExchange.deliver_message = deliver_and_wake
    impl_fake.FakeListener.poll = base.batch_poll_helper(poll)
