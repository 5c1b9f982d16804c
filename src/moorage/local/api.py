"""A few calls to the local cloud's own APIs, without loading an SDK (which would take a second)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from moorage.local.layout import LOOPBACK
from moorage.local.services import SERVICES

TIMEOUT = 30.0
# The cloud is on this machine, so a proxy from the environment is not used.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(Exception):
    """A service did not answer (`status` 0), or answered with an error."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def call(
    method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = TIMEOUT
) -> tuple[Any, dict[str, str]]:
    """One request with JSON in and out; returns the document (None when empty) and the response's headers."""
    data = json.dumps(body).encode() if body is not None else None
    request_headers = {
        "Accept": "application/json",
        **({"Content-Type": "application/json"} if data else {}),
        **(headers or {}),
    }
    request = urllib.request.Request(url, data=data, method=method, headers=request_headers)
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            text = response.read()
            return (json.loads(text) if text else None), dict(response.headers)
    except urllib.error.HTTPError as error:
        message = error.read().decode(errors="replace")[:300]
        raise ApiError(f"{method} {url}: {error.code} {message}", error.code) from error
    except OSError as error:
        raise ApiError(f"{method} {url}: {error}") from error


@dataclass(frozen=True)
class Session:
    """A token for one project. `catalog` has the service types that Keystone lists."""

    token: str
    project_id: str
    catalog: frozenset[str]

    @classmethod
    def open(cls, user: str, password: str, project: str) -> Session:
        """Log in with names of the default domain; ApiError."""
        keystone = SERVICES[0]
        domain = {"id": "default"}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        }
        scope = {"project": {"name": project, "domain": domain}}
        body, headers = call(
            "POST",
            f"http://{LOOPBACK}:{keystone.port}/v3/auth/tokens",
            {"auth": {"identity": identity, "scope": scope}},
        )
        token = body["token"]
        lower = {name.lower(): value for name, value in headers.items()}
        types = frozenset(entry["type"] for entry in token["catalog"] if entry["endpoints"])
        return cls(lower["x-subject-token"], token["project"]["id"], types)

    def url(self, type: str, path: str) -> str:
        """The URL of `path` below a service's endpoint, over loopback."""
        entry = next(entry for entry in SERVICES if entry.type == type)
        base = entry.path % {"tenant_id": self.project_id} if "%" in entry.path else entry.path
        return f"http://{LOOPBACK}:{entry.port}{base}{path}"

    def request(self, method: str, type: str, path: str, body: Any = None) -> Any:
        """Call a service by its catalog type; returns the response's document."""
        return call(method, self.url(type, path), body, {"X-Auth-Token": self.token})[0]
