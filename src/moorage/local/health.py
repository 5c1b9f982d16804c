"""Whether a service is ready: a request to the service, which its own process answers (see `serve/listen.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.local.api import ApiError, call
from moorage.local.layout import LOOPBACK
from moorage.local.services import Service

HEALTH_PATH = "/moorage/health"


@dataclass(frozen=True)
class Health:
    """`ready` when the API responds and every RPC thread runs; otherwise `reason` explains why not."""

    ready: bool
    version: str = ""
    pid: int = 0
    reason: str = ""


def check(entry: Service, timeout: float = 3.0) -> Health:
    """Request a service's health over loopback; never raises."""
    try:
        answer, _ = call("GET", f"http://{LOOPBACK}:{entry.port}{HEALTH_PATH}", timeout=timeout)
    except ApiError as error:
        return Health(False, reason="starting" if error.status == 503 else f"no response on port {entry.port}")
    return Health(bool(answer["ready"]), answer["version"], answer["pid"])
