"""The real Kubernetes API over HTTP: lightkube's connection, objects as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from moorage.kube.kubeconfig import KubeAccess, with_only
from moorage.kube.port import PODS, Change, Object, Resource, ResourceList, key_of, path_of
from moorage.model.errors import BadInput, Conflict, Expired, KubernetesUnreachable, MoorageError, NotFound

if TYPE_CHECKING:
    from httpx2 import Client, Response

TIMEOUT = 10.0  # seconds for one response
CONNECT_TIMEOUT = 2.0  # seconds to connect: the API's floating IP may be associated a moment after the server boots
BAD_REQUEST, UNAUTHORIZED, NOT_FOUND = 400, 401, 404
PAGE = 500  # objects in one page of a list
MERGE = {"Content-Type": "application/merge-patch+json"}


class HttpKubernetesClient:
    """The port `KubernetesClient`; thread-safe."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @classmethod
    def from_file(cls, kubeconfig: Path) -> HttpKubernetesClient:
        """Read a kubeconfig, without a request. BadInput when it is not one."""
        from lightkube import KubeConfig
        from lightkube.core.exceptions import ConfigError

        try:
            config = KubeConfig.from_file(str(kubeconfig)).get()
        except (ConfigError, OSError, ValueError) as error:
            raise BadInput(f"{kubeconfig} is not a kubeconfig: {error}") from error
        if config is None:
            raise BadInput(f"{kubeconfig} has no current context")
        return cls(_connect(config))

    @classmethod
    def from_access(cls, access: KubeAccess) -> HttpKubernetesClient:
        """Use a URL and a client's credentials, without a request."""
        from lightkube import KubeConfig

        return cls(_connect(KubeConfig.from_dict(with_only("cluster", access)).get()))

    def list(self, resource: Resource, field: str = "") -> ResourceList:
        items: list[Object] = []
        query: dict[str, Any] = {"limit": PAGE} | ({"fieldSelector": field} if field else {})
        while True:
            page = self._request("GET", path_of(resource), params=query)
            items += [{"apiVersion": resource.version, "kind": resource.kind, **item} for item in page["items"]]
            query["continue"] = page["metadata"].get("continue")
            if not query["continue"]:
                return ResourceList(tuple(items), page["metadata"]["resourceVersion"])

    def watch(self, resource: Resource, version: str, seconds: int) -> Iterator[Change]:
        query: dict[str, Any] = {"watch": "true", "resourceVersion": version, "timeoutSeconds": seconds}
        query["allowWatchBookmarks"] = "true"
        with self._translate_errors(), self._stream(path_of(resource), query, seconds + TIMEOUT) as response:
            for line in response.iter_lines():
                yield _change(line)

    def get(self, resource: Resource, key: str) -> Object | None:
        try:
            return self._request("GET", path_of(resource, key))
        except NotFound:
            return None

    def create(self, resource: Resource, desired: Object) -> Object:
        full = {"apiVersion": resource.version, "kind": resource.kind, **desired}
        return self._request("POST", path_of(resource, key_of(desired)).rpartition("/")[0], json=full)

    def replace(self, resource: Resource, desired: Object, subresource: str = "") -> Object:
        full = {"apiVersion": resource.version, "kind": resource.kind, **desired}
        path = path_of(resource, key_of(desired)) + (f"/{subresource}" if subresource else "")
        return self._request("PUT", path, json=full)

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        path = path_of(resource, key) + ("/status" if status else "")
        return self._request("PATCH", path, content=json.dumps(change), headers=MERGE)

    def delete(self, resource: Resource, key: str, uid: str = "", *, at_once: bool = False) -> None:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options |= {"gracePeriodSeconds": 0} if at_once else {}
        options |= {"preconditions": {"uid": uid}} if uid else {}
        try:
            self._request("DELETE", path_of(resource, key), json=options)
        except NotFound:
            return

    def last_log_line(self, pod: str) -> str:
        with self._translate_errors():
            response = self.client.request("GET", f"{path_of(PODS, pod)}/log", params={"tailLines": 1})
        # A container that has not been started has no log: a BadRequest.
        return response.text.strip() if response.status_code < BAD_REQUEST else ""

    def evict(self, pod: str) -> None:
        namespace, _, name = pod.partition("/")
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": namespace, "name": name}}
        with self._translate_errors():
            response = self.client.request("POST", f"{path_of(PODS, pod)}/eviction", json=eviction)
            if response.status_code == UNAUTHORIZED:
                _check(response)
            elif response.status_code >= BAD_REQUEST and response.status_code != NOT_FOUND:
                raise Conflict(_eviction_reason(response.json()))

    def close(self) -> None:
        self.client.close()

    def _request(self, method: str, path: str, **options: Any) -> Object:
        with self._translate_errors():
            response = self.client.request(method, path, **options)
            _check(response)
            return cast(Object, response.json())

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            address, reason = str(self.client.base_url).rstrip("/"), error or type(error).__name__
            raise KubernetesUnreachable(f"the Kubernetes API does not answer at {address}: {reason}") from error

    def _stream(self, path: str, query: Mapping[str, Any], timeout: float) -> _Stream:
        return _Stream(lambda: self.client.stream("GET", path, params=query, timeout=timeout))


def _connect(config: Any) -> Client:
    import httpx2
    from lightkube.config.client_adapter import Client, ConnectionParams

    return Client(config, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT), trust_env=False))


class _Stream:
    """A response that is read as it arrives, after its status was checked."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self.context = start()

    def __enter__(self) -> Response:
        response: Response = self.context.__enter__()
        if response.status_code >= 400:
            response.read()
            self.context.__exit__(None, None, None)
            _check(response)
        return response

    def __exit__(self, *exception: object) -> None:
        self.context.__exit__(*exception)


def _change(line: str) -> Change:
    event = json.loads(line)
    if event["type"] == "ERROR":
        raise error_for(event["object"].get("code", 500), event["object"].get("message", ""))
    return Change(event["type"], event["object"])


def _eviction_reason(status: Mapping[str, Any]) -> str:
    """Why a pod may not be evicted: the budgets that do not allow it, or what else the API says."""
    causes = (status.get("details") or {}).get("causes") or ()
    messages = [str(cause.get("message", "")) for cause in causes if cause.get("reason") == "DisruptionBudget"]
    return "; ".join(messages) or str(status.get("message", ""))


def _check(response: Response) -> None:
    if response.status_code >= 400:
        try:
            message = response.json().get("message", "")
        except ValueError:
            message = response.text[:300]
        raise error_for(response.status_code, message)


def error_for(status: int, message: str) -> MoorageError:
    """The error for a rejected request."""
    if status == 404:
        return NotFound(message)
    if status == 410:
        return Expired(message)
    if status == 409:
        return Conflict(message)
    if status in (400, 405, 413, 422):
        return BadInput(f"the Kubernetes API refused: {message}")
    return KubernetesUnreachable(f"the Kubernetes API answered {status}: {message}")
