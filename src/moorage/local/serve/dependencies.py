"""Wait for what a service needs before it starts: the database's socket, and the complete catalog."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from moorage.local import health, secrets
from moorage.local.api import ApiError, Session
from moorage.local.layout import Layout
from moorage.local.services import SERVICES, Service, service
from moorage.local.waiting import PAUSE, until


def wait_for_socket(path: Path, timeout: float = 120) -> None:
    """Return when a server accepts connections on the Unix socket; TimeoutError."""
    until(lambda: accepts(path), timeout, f"no process accepts connections on {path}")


def accepts(path: Path) -> bool:
    """Whether a server accepts connections on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def wait_for_catalog(layout: Layout, entry: Service, timeout: float = 300) -> None:
    """Return when this service's user can log in and the catalog has every service of the table.

    Some projects look others up once, and treat a missing one as disabled for their whole life.
    """
    password = secrets.ensure(layout.secrets).services[entry.name]
    required = {other.type for other in SERVICES}
    deadline = time.monotonic() + timeout
    while True:
        try:
            missing = required - Session.open(entry.name, password, "service").catalog
            if not missing:
                return
            reason = f"missing in the catalog: {', '.join(sorted(missing))}"
        except ApiError as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise TimeoutError(f"Keystone's catalog is not complete: {reason}")
        time.sleep(PAUSE * 4)


def wait_for_health(name: str, timeout: float = 300) -> None:
    """Return when another service of the table reports ready; TimeoutError."""
    until(lambda: health.check(service(name)).ready, timeout, f"{name} is not ready", PAUSE * 4)
