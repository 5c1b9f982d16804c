"""Octavia's driver agent as threads beside its API: what providers tell of themselves, and OVN's own events.

Its own program starts a process for each of these, and one more for each message.
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any

from moorage.local.layout import Layout
from moorage.local.serve import dependencies

SOCKETS_TIMEOUT = 10.0


def prepare(layout: Layout) -> None:
    """Listen for the provider before the API loads it: it looks for the agent's sockets, and waits for them."""
    from oslo_service import backend

    backend.init_backend(backend.BackendType.THREADING)  # before the imports below choose eventlet
    from octavia.api.drivers.driver_agent import driver_listener
    from octavia.common import service
    from octavia_lib.api.drivers.driver_lib import DriverLibrary
    from oslo_config import cfg

    service.prepare_service(sys.argv)
    service.prepare_service = lambda argv=None: None  # the API does it again, which oslo.config refuses
    settings = cfg.CONF.driver_agent
    sockets = (settings.status_socket_path, settings.stats_socket_path, settings.get_socket_path)
    DriverLibrary.__init__.__defaults__ = sockets  # the provider asks for the places that were built in
    driver_listener.ForkingUDSServer = _server()
    for path in sockets:
        Path(path).unlink(missing_ok=True)  # left by a process that was killed: what is there must be heard
    for listener in (driver_listener.status_listener, driver_listener.stats_listener, driver_listener.get_listener):
        _run(listener)
    _wait_for(sockets)


def start(layout: Layout) -> None:
    """Start the provider's agent: members' health, and addresses of routers that come and go.

    Neutron comes first: the agent asks it at once, and a client that could not learn Neutron's version goes on without
    one for as long as it lives.
    """
    from ovn_octavia_provider.agent import OvnProviderAgent

    dependencies.wait_for_health("neutron")
    _run(OvnProviderAgent)


def _server() -> Any:
    class ThreadingUnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    return ThreadingUnixServer


def _run(function: Any) -> None:
    """Until the process ends: nobody sets the event that would stop it."""
    threading.Thread(target=function, args=(threading.Event(),), daemon=True, name=function.__name__).start()


def _wait_for(sockets: tuple[str, ...]) -> None:
    deadline = time.monotonic() + SOCKETS_TIMEOUT
    while missing := [path for path in sockets if not Path(path).exists()]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Octavia's agent does not listen at {', '.join(missing)}; its log says why")
        time.sleep(0.05)
