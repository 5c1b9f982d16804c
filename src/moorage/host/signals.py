"""Stop a program on SIGTERM."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from threading import Event, Thread


def stop_on_sigterm() -> Event:
    """An event that SIGTERM sets; call it from the main thread.

    Python runs a signal handler in the main thread, between any two instructions. `Event.set` in the handler would wait
    forever for the event's lock when the main thread is in `Event.wait` and holds it. `SimpleQueue.put` is reentrant
    (Python's documentation of `queue`), so the handler only does that, and a thread sets the event.
    """
    stop, received = Event(), SimpleQueue[int]()

    def wait() -> None:
        received.get()
        stop.set()

    Thread(target=wait, name="stop-on-sigterm", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, _: received.put(number))
    return stop
