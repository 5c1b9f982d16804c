"""Stop a program on SIGTERM."""

from __future__ import annotations

import signal
from socket import socketpair
from threading import Event, Thread


def stop_on_sigterm() -> Event:
    """An event that SIGTERM sets; call it once, from the main thread.

    A Python signal handler is not enough for that. It runs in the main thread, between two instructions, so one that
    calls `Event.set` waits forever when the main thread holds the event's lock in `Event.wait`. And it does not run at
    all while the main thread waits for a lock and another thread, or the main thread just before its wait, received the
    signal. The wakeup descriptor has neither problem: the C handler writes to it at once, in whichever thread
    (Python's documentation of `signal.set_wakeup_fd`).
    """
    stop = Event()
    received, wakeup = socketpair()
    wakeup.setblocking(False)

    def wait() -> None:
        while signal.SIGTERM not in received.recv(64):
            pass
        stop.set()

    Thread(target=wait, name="stop-on-sigterm", daemon=True).start()
    signal.set_wakeup_fd(wakeup.detach())
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    return stop
