"""HTTP requests to OpenStack services, with errors that users understand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from moorage.model.errors import (
    BadInput,
    CloudUnreachable,
    Conflict,
    Failed,
    MoorageError,
    NotFound,
    QuotaExceeded,
)

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from keystoneauth1.session import Session

NAMES = {
    "identity": "Keystone",
    "orchestration": "Heat",
    "compute": "Nova",
    "network": "Neutron",
    "image": "Glance",
    "block-storage": "Cinder",
    "load-balancer": "Octavia",
}
# Keystone, Glance, Neutron and Octavia publish their root in the catalog; the API is below its version.
VERSIONS = {"identity": "/v3", "image": "/v2", "network": "/v2.0", "load-balancer": "/v2/lbaas"}
# Seconds for one response, unless clouds.yaml has an api_timeout. Without a limit, a hanging service would hang us.
CA_FILE = "cloud-ca.pem"
ANSWER_TIMEOUT = 60.0
UPLOAD_TIMEOUT = 1800.0  # seconds for the response to a file: the service may copy it to its store first
DEFAULTS = "moorage"  # in an entry of clouds.yaml: what new clusters get unless their user says otherwise


class Rest:
    """One authenticated project; the first call gets a token, which is renewed automatically.

    Addresses are used as they are in the catalog, without version discovery.
    """

    def __init__(
        self,
        session: Session,
        cloud: str,
        region: str | None,
        interface: str,
        defaults: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.session = session
        self.defaults = defaults
        self.cloud = cloud
        self.region = region
        self.interface = interface
        self._adapters: dict[str, Adapter] = {}
        self._endpoints: dict[str, str] = {}

    @classmethod
    def connect(cls, name: str | None) -> Rest:
        """Read clouds.yaml or OS_* variables, without a request to the cloud."""
        return cls._configured(name)

    @classmethod
    def _configured(cls, name: str | None, file: Path | None = None) -> Rest:
        from keystoneauth1 import exceptions as identity
        from openstack import exceptions as sdk
        from openstack.config import OpenStackConfig

        try:
            config = OpenStackConfig(config_files=[str(file)] if file else None).get_one(cloud=name)
            session = config.get_session()
        except (sdk.ConfigException, identity.MissingRequiredOptions, identity.MissingAuthPlugin) as error:
            raise _no_credentials(name, error) from error
        session.timeout = session.timeout or ANSWER_TIMEOUT
        interface, defaults = str(config.get_interface() or "public"), config.config.get(DEFAULTS)
        return cls(session, config.name, config.get_region_name(), interface, _checked(defaults))

    @classmethod
    def from_file(cls, clouds: Path, name: str) -> Rest:
        """Use an entry of that clouds.yaml.

        An entry with an application credential, as on control planes, does not need openstacksdk, which takes longer to
        import than everything else. The cloud is verified with the certificates in `cloud-ca.pem` beside the file, if
        that exists: a new credential does not repeat them.
        """
        entry = _entry(clouds, name)
        if entry.get("auth_type") != "v3applicationcredential":
            return cls._configured(name, clouds)
        from keystoneauth1.identity.v3 import ApplicationCredential
        from keystoneauth1.session import Session

        auth = entry["auth"]
        plugin = ApplicationCredential(
            auth_url=auth["auth_url"],
            application_credential_id=auth["application_credential_id"],
            application_credential_secret=auth["application_credential_secret"],
        )
        beside = clouds.with_name(CA_FILE)
        verify = entry.get("cacert") or (str(beside) if beside.exists() else entry.get("verify", True))
        session = Session(auth=plugin, verify=verify, timeout=ANSWER_TIMEOUT)
        return cls(session, name, entry.get("region_name"), str(entry.get("interface") or "public"))

    def endpoint(self, service: str) -> str:
        """The service's address in the catalog, with the API's version appended."""
        if service not in self._endpoints:
            url = self._catalog_url(service)
            if not url:
                raise CloudUnreachable(
                    f"the cloud {self.cloud!r} has no {NAMES[service]} (service type {service!r}) in its catalog"
                    + (f" for region {self.region!r}" if self.region else ""),
                    "ask its operator, or choose another cloud with --cloud",
                )
            base, version = url.rstrip("/"), VERSIONS.get(service, "")
            self._endpoints[service] = base if base.endswith(version) else base + version
        return self._endpoints[service]

    def has_service(self, service: str) -> bool:
        """Whether the catalog has that service."""
        return bool(self._catalog_url(service))

    def _catalog_url(self, service: str) -> str:
        return self._translate_errors(service, self._adapter(service).get_endpoint) or ""

    def _adapter(self, service: str) -> Adapter:
        from keystoneauth1.adapter import Adapter

        if service not in self._adapters:
            self._adapters[service] = Adapter(
                self.session, service_type=service, interface=self.interface, region_name=self.region
            )
        return self._adapters[service]

    def project(self) -> str:
        """The id of the credentials' project."""
        return str(self._translate_errors("identity", self.session.get_project_id))

    def token(self) -> str:
        """A token of the project, which is renewed when it is about to expire."""
        return str(self._translate_errors("identity", self.session.get_token))

    def check(self) -> None:
        """Check the credentials with Keystone; CloudUnreachable when it refuses them or does not answer.

        Other services cache for minutes that a token is valid.
        """
        try:
            self.get("identity", "/auth/projects")
        except NotFound as error:  # the token's application credential was deleted
            raise CloudUnreachable(
                f"Keystone refused the credentials of the cloud {self.cloud!r}: they were revoked"
            ) from error

    def user(self) -> str:
        """The id of the credentials' user."""
        return str(self._translate_errors("identity", self.session.get_user_id))

    def roles(self) -> list[str]:
        """The names of the user's roles in the project."""
        auth: Any = self.session.auth
        return list(self._translate_errors("identity", lambda: auth.get_access(self.session).role_names))

    def get(self, service: str, path: str, *, microversion: str = "", **query: Any) -> dict[str, Any]:
        """GET, as a mapping; NotFound. `microversion` is the service's, as in "2.47"."""
        return _body(self._send("GET", service, path, params=query, microversion=microversion))

    def list(
        self, service: str, path: str, *, microversion: str = "", key: str = "", **query: Any
    ) -> Iterator[dict[str, Any]]:
        """All rows of a collection, page by page; `key` names them in the response if the path's end does not."""
        key = key or path.rsplit("/", 1)[-1].replace("-", "_")
        params: Any = query
        while True:
            page = _body(self._send("GET", service, path, params=params, microversion=microversion))
            yield from page[key]
            following = _next_page(page, key)
            if not page[key] or not following or following == params:
                return
            params = following

    def post(self, service: str, path: str, body: Mapping[str, Any], *, microversion: str = "") -> dict[str, Any]:
        """POST; Conflict when it exists, BadInput or QuotaExceeded when the service rejects it."""
        return _body(self._send("POST", service, path, json=body, microversion=microversion))

    def put(self, service: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT; the errors of `post` and NotFound."""
        return _body(self._send("PUT", service, path, json=body))

    def patch(self, service: str, path: str, body: Any, *, content_type: str = "application/json") -> None:
        """PATCH; the errors of `post` and NotFound. Heat's response is not JSON."""
        headers = {"Content-Type": content_type}
        self._send("PATCH", service, path, data=json.dumps(body), headers=headers)

    def put_file(self, service: str, path: str, file: Path, sent: Callable[[int], None]) -> None:
        """PUT a file's bytes, without reading it into memory; `sent` gets their number so far, in bytes."""
        with file.open("rb") as stream:
            content = _Counted(stream, file.stat().st_size, sent)
            headers = {"Content-Type": "application/octet-stream"}
            self._send("PUT", service, path, data=content, headers=headers, timeout=UPLOAD_TIMEOUT)

    def delete(self, service: str, path: str, *, microversion: str = "") -> None:
        """DELETE; NotFound."""
        self._send("DELETE", service, path, microversion=microversion)

    def _send(self, method: str, service: str, path: str, microversion: str = "", **options: Any) -> Any:
        url = self.endpoint(service) + path
        options["microversion"] = microversion or None

        def send() -> Any:
            return self._adapter(service).request(url, method, raise_exc=False, authenticated=True, **options)

        response = self._translate_errors(service, partial(_retry_once, send) if method == "GET" else send)
        if response.status_code >= 400:
            raise _error(service, url, response.status_code, response.text)
        return response

    def _translate_errors(self, service: str, call: Callable[[], Any]) -> Any:
        from keystoneauth1 import exceptions as identity

        try:
            return call()
        except (identity.Unauthorized, identity.NotFound) as error:  # not found: a revoked application credential
            raise CloudUnreachable(
                f"Keystone refused the credentials of the cloud {self.cloud!r}: {_one_line(error)}",
                "check user name, password and project in clouds.yaml (or OS_* variables)",
            ) from error
        except (identity.ConnectFailure, identity.ConnectTimeout, identity.SSLError) as error:
            raise _unreachable(service, self.cloud, error) from error
        except (identity.DiscoveryFailure, identity.HttpError) as error:
            raise CloudUnreachable(
                f"Keystone of the cloud {self.cloud!r} rejected the login: {_one_line(error)}"
            ) from error


class _Counted:
    """A file to send, of known length, that reports how much of it was read."""

    def __init__(self, stream: IO[bytes], length: int, sent: Callable[[int], None]) -> None:
        self.stream, self.length, self.sent = stream, length, sent

    def __len__(self) -> int:
        return self.length

    def read(self, size: int = -1) -> bytes:
        part = self.stream.read(size)
        self.sent(self.stream.tell())
        return part

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1 << 20), b"")


def _retry_once(send: Callable[[], Any]) -> Any:
    """Retry once, at once, when there was no connection: a kept-alive connection may have been closed long before.

    Only for requests that change nothing. A response that is late is not requested twice, as keystoneauth's
    connect_retries would do.
    """
    from keystoneauth1.exceptions import ConnectFailure

    try:
        return send()
    except ConnectFailure:
        return send()


def _entry(clouds: Path, name: str) -> Mapping[str, Any]:
    """An entry of a clouds.yaml; BadInput when it does not exist."""
    import yaml

    try:
        entry = yaml.safe_load(clouds.read_text())["clouds"][name]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BadInput(f"{clouds} has no cloud {name!r}: {_one_line(error)}") from error
    return entry if isinstance(entry, Mapping) else {}


def _checked(defaults: object) -> Mapping[str, str]:
    """The defaults of a clouds.yaml entry; BadInput when they are not a mapping to text."""
    if defaults is None:
        return {}
    if not isinstance(defaults, Mapping) or not all(isinstance(value, str) for value in defaults.values()):
        reason = f"{DEFAULTS} in clouds.yaml is not a mapping to text: {defaults!r}"
        raise BadInput(reason, f"correct it, as in {DEFAULTS}: {{flavor: NAME}}")
    return defaults


def _next_page(page: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
    """The query of the next page, or nothing. Of the link only the query counts: a proxy may have another address.

    Nova, Cinder, Neutron and Octavia link as `KEY_links`, Heat as `links`, Keystone as `links.next`, Glance as `next`.
    """
    links = page.get(f"{key}_links") or page.get("links") or ()
    if isinstance(links, Mapping):
        address = links.get("next")
    else:
        address = next((link["href"] for link in links if link["rel"] == "next"), page.get("next"))
    return parse_qsl(urlsplit(address or "").query)


def _body(response: Any) -> dict[str, Any]:
    return response.json() if response.content else {}


def _no_credentials(name: str | None, error: Exception) -> MoorageError:
    if name:
        return BadInput(
            f"no cloud {name!r} in clouds.yaml: {_one_line(error)}",
            "name one of its entries with --cloud; no cloud at hand? moorage demo up starts one here",
        )
    return BadInput(
        f"no cloud was named, and the environment has no credentials: {_one_line(error)}",
        "moorage --cloud NAME …, with NAME an entry of clouds.yaml; no cloud at hand? moorage demo up starts one here",
    )


def _unreachable(service: str, cloud: str, error: Exception) -> CloudUnreachable:
    address = re.search(r"https?://[^\s/:]+(:\d+)?", str(error))
    where = address.group(0) if address else "its address"
    unreachable_service = next(
        (NAMES[kind] for kind, port in _PORTS.items() if where.endswith(f":{port}")), NAMES[service]
    )
    reason = (
        "connection refused" if "refused" in str(error) else "no answer in time" if "imed out" in str(error) else ""
    )
    return CloudUnreachable(
        f"{unreachable_service} of the cloud {cloud!r} does not answer at {where}"
        + (f": {reason}" if reason else f": {_one_line(error)}"),
        "is the cloud up? a local one: moorage cloud status",
        unreachable_service,
    )


# Any call may need the identity service first: its usual port shows which of the two did not answer.
_PORTS = {"identity": 5000}


def _error(service: str, url: str, status: int, text: str) -> MoorageError:
    message = _message(text)
    if status == 404:
        return NotFound(f"{NAMES[service]} has no {url}")
    if status in (403, 409, 413) and "quota" in message.lower():
        return QuotaExceeded(f"{NAMES[service]} refused: {message}", "free some, or ask the cloud's operator for more")
    if status == 409:
        return Conflict(message)
    if status in (400, 403, 413, 501):
        return BadInput(f"{NAMES[service]} refused: {message}")
    if status >= 500:
        return CloudUnreachable(f"{NAMES[service]} answered {status} at {url}: {message}", "try again in a moment")
    return Failed(f"{NAMES[service]} answered {status} at {url}: {message}")


def _message(text: str) -> str:
    """The message in an OpenStack error response, whatever its wrapping."""
    import json

    try:
        body = json.loads(text)
    except ValueError:
        return text.strip()[:300]
    while isinstance(body, dict):
        inner = body.get("error", body.get("NeutronError"))
        if inner is None and len(body) == 1:
            inner = next(iter(body.values()))
        if not isinstance(inner, dict | str):
            return str(body.get("message") or body.get("explanation") or body.get("faultstring") or body)
        body = inner
    return str(body)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
