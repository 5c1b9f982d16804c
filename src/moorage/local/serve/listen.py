"""A threaded HTTP server for one WSGI application on several addresses, with a health resource."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from moorage.local.health import HEALTH_PATH
from moorage.local.services import Service

THREADS = 8
BACKLOG = 128


@dataclass
class State:
    """The state that the health resource reports."""

    service: str
    version: str
    ready: bool = False


def listen(application: Callable[..., Any], entry: Service, addresses: Iterable[str]) -> State:
    """Serve `application` on every address from threads of this process, without waiting."""
    from cheroot import wsgi

    state = State(entry.name, version(entry.distribution))
    wrapped = _add_health_resource(application, state)
    for address in addresses:
        server = wsgi.Server((address, entry.port), wrapped, numthreads=THREADS, request_queue_size=BACKLOG)
        server.prepare()
        threading.Thread(target=server.serve, daemon=True, name=f"wsgi-{address}").start()
    return state


def _add_health_resource(application: Callable[..., Any], state: State) -> Callable[..., Any]:
    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ.get("PATH_INFO") != HEALTH_PATH:
            return application(environ, start_response)
        body = json.dumps({**vars(state), "pid": os.getpid()}).encode()
        status = "200 OK" if state.ready else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return wrapped
