"""Start one project: its WSGI application on every address, then its RPC services as threads."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from moorage.local.layout import GATEWAY, LOOPBACK, Layout
from moorage.local.services import SERVICES, Service, service

STARTED = time.monotonic()
# The defaults are for small heaps; loading rows through an ORM allocates thousands of objects for each request.
COLLECTION_THRESHOLDS = (20_000, 20, 20)


def main() -> None:
    gc.disable()
    entry, layout = _parse_arguments()
    _set_environment(entry, layout)
    try:
        _run(entry, layout)
    except BaseException:
        # Threads of the project may be running: exit at once, and let the supervisor start a new process.
        traceback.print_exc()
        os._exit(1)
    threading.Event().wait()


def _run(entry: Service, layout: Layout) -> None:
    from moorage.local.serve import dependencies, messaging, privileged
    from moorage.local.serve.listen import listen

    dependencies.wait_for_socket(layout.mysql_socket)
    if entry.prepare:
        _load(entry.prepare)(layout)
    _choose_threads()
    privileged.run_in_process()
    messaging.wake_listeners()
    application = _load(entry.application)
    if entry.before_listening:
        _load(entry.before_listening)()
    _handle_sigterm()
    state = listen(application, entry, (LOOPBACK, GATEWAY))
    _log(f"{entry.name} listens on port {entry.port}")
    if entry.threads:
        dependencies.wait_for_catalog(layout, entry)
        _load(entry.threads)(layout)
    _freeze_heap()
    state.ready = True
    _log(f"{entry.name} is ready")


def _parse_arguments() -> tuple[Service, Layout]:
    parser = argparse.ArgumentParser(prog="python -m moorage.local.serve", description=__doc__)
    parser.add_argument("project", choices=[entry.name for entry in SERVICES])
    for folder in ("state", "run", "cache"):
        parser.add_argument(f"--{folder}", type=Path, required=True)
    arguments = parser.parse_args()
    return service(arguments.project), Layout(arguments.state, arguments.run, arguments.cache)


def _set_environment(entry: Service, layout: Layout) -> None:
    """Set the command line and environment that the project expects."""
    etc = str(layout.etc / entry.name)
    os.environ.update({name: value.format(etc=etc) for name, value in entry.environment.items()})
    sys.argv = [entry.name, *(argument.format(etc=etc) for argument in entry.arguments)]


def _freeze_heap() -> None:
    """Exclude loaded modules, which are most of the heap and never freed, from garbage collection."""
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)
    gc.enable()


def _choose_threads() -> None:
    """Select native threads, before a library selects eventlet by default."""
    from oslo_service import backend

    backend.init_backend(backend.BackendType.THREADING)


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _handle_sigterm() -> None:
    """Exit at once on SIGTERM, and let no project set another handler.

    Projects set handlers for their own process; off the main thread, Python refuses that.
    """
    signal.signal(signal.SIGTERM, _exit_at_once)
    original = signal.signal

    def on_main_thread(number: int, handler: Any) -> Any:
        if threading.current_thread() is threading.main_thread() and number != signal.SIGTERM:
            return original(number, handler)
        return None

    signal.signal = on_main_thread  # type: ignore[assignment]


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _log(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
