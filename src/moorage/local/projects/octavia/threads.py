"""Run Octavia's driver agent as threads of the API's process: the providers' status reports, and OVN's events.

Its own program starts a process for each of these, and one more for each message.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from moorage.local.layout import Layout
from moorage.local.serve import dependencies
from moorage.local.waiting import until

SOCKETS_TIMEOUT = 10.0


def prepare(layout: Layout) -> None:
    """Listen for the provider before the API loads it, because it waits for the agent's sockets."""
    from oslo_service import backend

    backend.init_backend(backend.BackendType.THREADING)  # before the imports below select eventlet
    from octavia.api.drivers.driver_agent import driver_listener
    from octavia.common import service
    from octavia_lib.api.drivers.driver_lib import DriverLibrary
    from oslo_config import cfg

    service.prepare_service(sys.argv)
    service.prepare_service = lambda argv=None: None  # the API calls it again, which oslo.config rejects
    settings = cfg.CONF.driver_agent
    sockets = (settings.status_socket_path, settings.stats_socket_path, settings.get_socket_path)
    DriverLibrary.__init__.__defaults__ = sockets  # the provider uses the built-in paths
    driver_listener.ForkingUDSServer = _threading_server_class()
    for path in sockets:
        Path(path).unlink(missing_ok=True)  # of a killed process; each socket must have a listener
    for listener in (driver_listener.status_listener, driver_listener.stats_listener, driver_listener.get_listener):
        _start_thread(listener)
    _wait_for(sockets)


def start(layout: Layout) -> None:
    """Start the provider's agent: members' health, and addresses of routers.

    Neutron must be up first: the agent calls it at once, and a client that cannot read Neutron's version works without
    one for its whole life.
    """
    from ovn_octavia_provider.agent import OvnProviderAgent

    dependencies.wait_for_health("neutron")
    _start_thread(OvnProviderAgent)


def _threading_server_class() -> Any:
    class ThreadingUnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    return ThreadingUnixServer


def _start_thread(function: Any) -> None:
    """Run the function until the process ends: the event that would stop it is never set."""
    threading.Thread(target=function, args=(threading.Event(),), daemon=True, name=function.__name__).start()


def _wait_for(sockets: tuple[str, ...]) -> None:
    for path in sockets:
        until(Path(path).exists, SOCKETS_TIMEOUT, f"Octavia's agent does not listen at {path}; see its log")
