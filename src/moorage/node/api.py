"""The Kubernetes API, as far as a node's first minute needs it.

Plain http.client: importing a client library would take longer than all of these calls together.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Object = dict[str, Any]

PORT = 6443
TIMEOUT = 10.0
MANAGER = "moorage-node"
EXISTS = (http.client.CONFLICT, http.client.UNPROCESSABLE_ENTITY)
"""Statuses when an object that is created exists already: the second one for a Service, by its address."""
HOPELESS = (http.client.BAD_REQUEST, http.client.METHOD_NOT_ALLOWED, http.client.UNPROCESSABLE_ENTITY)
"""Statuses for which a retry does not help. Others may pass: roles and tokens appear a little after the server."""


class Unreachable(Exception):
    """The API server does not answer (yet): try again."""


class Refused(Exception):
    """The API server answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} ({status})")
        self.status = status


@dataclass(frozen=True)
class Credential:
    """The client's identity: a certificate (files), a bearer token, or none."""

    certificate: Path | None = None
    key: Path | None = None
    token: str = ""


class Api:
    """One connection to the API server, opened when needed and opened again after a failure.

    Every method raises Unreachable without an answer and Refused for an error.
    """

    def __init__(self, address: str, ca: str | None, credential: Credential = Credential()) -> None:
        """`ca` is PEM; None trusts any server, for documents that are signed."""
        self._address = address
        self._context = _context(ca, credential)
        self._token = credential.token
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, path: str) -> Object:
        return self._ask("GET", path)

    def get_text(self, path: str) -> str:
        """A response that is not an object: the server's health."""
        try:
            return self._send("GET", path, None, "").read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"the API server's answer ended early: {error}") from error

    def find(self, path: str) -> Object | None:
        """Like get, None without such an object."""
        try:
            return self.get(path)
        except Refused as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def apply(self, wanted: Object) -> Object:
        """Server-side apply."""
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        return self._ask("PATCH", f"{path_of(wanted)}?{query}", wanted, "application/apply-patch+yaml")

    def patch(self, wanted: Object) -> Object:
        """Merge into an object: None removes a field (RFC 7386)."""
        return self._ask("PATCH", path_of(wanted), wanted, "application/merge-patch+json")

    def patch_status(self, wanted: Object) -> Object:
        """Merge into an object's status; elements of lists by their keys (strategic merge patch)."""
        kind = "application/strategic-merge-patch+json"
        return self._ask("PATCH", f"{path_of(wanted)}/status", wanted, kind)

    def create(self, wanted: Object) -> Object:
        return self._ask("POST", path_of(wanted).rpartition("/")[0], wanted)

    def ensure(self, wanted: Object) -> None:
        """Create or apply: faster than apply when the object does not exist."""
        try:
            self.create(wanted)
        except Refused as error:
            if error.status not in EXISTS:
                raise
            self.apply(wanted)

    def replace(self, path: str, wanted: Object) -> Object:
        return self._ask("PUT", path, wanted)

    def watch(self, path: str, version: str, seconds: int, **query: str) -> Iterator[Object]:
        """Events (`type`, `object`) since `version`, for some seconds."""
        self.close()  # a watch needs a longer timeout than other requests
        question = urlencode({"watch": "true", "resourceVersion": version, "timeoutSeconds": seconds, **query})
        answer = self._send("GET", f"{path}?{question}", None, "", timeout=seconds + TIMEOUT)
        try:
            for line in answer:
                yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"the watch of {path} ended: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        answer = self._send(method, path, body, kind)
        try:
            document: Object = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unreachable(f"the API server's answer ended early: {error}") from error
        return document

    def _send(
        self, method: str, path: str, body: Object | None, kind: str, timeout: float = TIMEOUT
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = kind
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = self._request(method, path, content, headers, timeout)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"https://{self._address}:{PORT}: {error}") from error
        if answer.status >= http.client.BAD_REQUEST:
            raise Refused(answer.status, _message(answer.read()))
        return answer

    def _request(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        """Retry once on a new connection: a kept-alive one may have been closed."""
        fresh = self._connection is None
        connection = self._connect(timeout)
        try:
            connection.request(method, path, content, headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if fresh:
                raise
        connection = self._connect(timeout)
        connection.request(method, path, content, headers)
        return connection.getresponse()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(self._address, PORT, timeout=timeout, context=self._context)
        return self._connection


def path_of(wanted: Object) -> str:
    """The API path of an object."""
    version, meta = wanted["apiVersion"], wanted["metadata"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{group}{namespace}/{_plural(wanted['kind'].lower())}/{meta['name']}"


def _plural(kind: str) -> str:
    """The kind in API paths: "storageclasses", "nodes"."""
    return kind + ("es" if kind.endswith("ss") else "s")


def _context(ca: str | None, credential: Credential) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=ca)
    if credential.certificate is not None:
        context.load_cert_chain(credential.certificate, credential.key)
    return context


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
