"""The node's user data: one YAML document, `#moorage-node/v1`, parsed or rejected with the reason."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import yaml

from moorage.model.cluster import Taint
from moorage.model.credential import Credential
from moorage.model.errors import BadInput

HEADER = "#moorage-node/v1"
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
BACKENDS = ("vxlan", "host-gw")
ROLES = ("control-plane", "worker")
READY_TIMEOUT = 600.0

Role = Literal["control-plane", "worker"]


@dataclass(frozen=True)
class Cluster:
    """What every node of a cluster knows. Addresses are IPv4; `api_public_address` may be empty.

    `cloud_provider` is "external" when moorage-controller connects the cluster to its cloud, else empty. `cloud_ca` are
    PEM certificates with which the cloud's APIs are verified; empty for Debian's.
    """

    name: str
    api_address: str
    api_public_address: str
    pod_cidr: str
    service_cidr: str
    node_cidr: str
    flannel_backend: str
    bootstrap_token: str
    registry_mirrors: Mapping[str, str] = field(default_factory=dict)
    cloud_provider: str = ""
    cloud_ca: str = ""

    @property
    def service_address(self) -> str:
        """The API server's own Service: the first address of the range."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def dns_address(self) -> str:
        """The cluster's DNS: the tenth address of the range."""
        return str(ipaddress.ip_network(self.service_cidr)[10])

    @property
    def token_id(self) -> str:
        return self.bootstrap_token.partition(".")[0]

    @property
    def token_secret(self) -> str:
        return self.bootstrap_token.partition(".")[2]


@dataclass(frozen=True)
class Signal:
    """The endpoint and token for signals to the stack; `ca` as in Cluster."""

    endpoint: str
    token: str
    ca: str = ""


@dataclass(frozen=True)
class UserData:
    """The whole document. `client_csr` and `cloud` are for the control plane only; `ready_timeout` is in seconds."""

    role: Role
    cluster: Cluster
    group: str
    signal: Signal | None = None
    client_csr: str = ""
    cloud: Credential | None = None
    ready_timeout: float = READY_TIMEOUT
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


def parse(text: str) -> UserData:
    """Parse a document; BadInput names the key, its value and what would be valid."""
    document = _document(text)
    role = _choice(document, "role", ROLES)
    node = _section(document, "node", required=False)
    control_plane = _section(document, "control_plane", required=False)
    group = str(node.get("group") or role)
    _match(NAME, group, "node.group", "a DNS label")
    return UserData(
        role=cast(Role, role),
        cluster=_cluster(_section(document, "cluster")),
        group=group,
        signal=_signal(document),
        client_csr=str(control_plane.get("client_csr") or ""),
        cloud=_cloud(control_plane),
        ready_timeout=_seconds(node.get("ready_timeout", control_plane.get("ready_timeout", READY_TIMEOUT))),
        labels={str(key): str(value) for key, value in (node.get("labels") or {}).items()},
        taints=tuple(_taint(taint) for taint in node.get("taints") or ()),
    )


def signal_of(text: str) -> Signal | None:
    """Where to signal, from a document that may otherwise be invalid; None when it does not say."""
    try:
        return _signal(_document(text))
    except BadInput:
        return None


def _document(text: str) -> dict[str, Any]:
    if not text.startswith(HEADER):
        first = text.splitlines()[0][:40] if text.strip() else "nothing"
        raise BadInput(f"user data begins with {first!r}, not with {HEADER}")
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise BadInput(f"user data is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise BadInput("user data is not a YAML mapping")
    return document


def _cluster(fields: Mapping[str, Any]) -> Cluster:
    driver = fields.get("network_driver", "flannel")
    if driver != "flannel":
        raise BadInput(f"cluster.network_driver is {driver!r}: this image supports flannel")
    return Cluster(
        name=_match(NAME, fields.get("name"), "cluster.name", "a DNS label"),
        api_address=_address(fields, "api_address"),
        api_public_address=_address(fields, "api_public_address") if fields.get("api_public_address") else "",
        pod_cidr=_network(fields, "pod_cidr"),
        service_cidr=_network(fields, "service_cidr"),
        node_cidr=_network(fields, "node_cidr"),
        flannel_backend=_choice(fields, "flannel_backend", BACKENDS, "vxlan"),
        bootstrap_token=_match(TOKEN, fields.get("bootstrap_token"), "cluster.bootstrap_token", "id.secret", hide=True),
        registry_mirrors={str(key): str(value) for key, value in (fields.get("registry_mirrors") or {}).items()},
        cloud_provider=_choice(fields, "cloud_provider", ("external", ""), ""),
        cloud_ca=_certificates(fields),
    )


def _cloud(control_plane: Mapping[str, Any]) -> Credential | None:
    fields = control_plane.get("cloud")
    if not fields:
        return None
    if not isinstance(fields, dict) or not str(fields.get("auth_url", "")).startswith(("http://", "https://")):
        raise BadInput("control_plane.cloud.auth_url is not an http(s) URL")
    for key in ("id", "secret"):
        if not isinstance(fields.get(key), str) or not fields[key]:
            raise BadInput(f"control_plane.cloud.{key} is missing: it is the application credential's")
    return Credential(fields["id"], fields["secret"], fields["auth_url"], str(fields.get("region") or ""))


def _signal(document: Mapping[str, Any]) -> Signal | None:
    fields = document.get("signal")
    if not fields:
        return None
    if not isinstance(fields, dict) or not str(fields.get("endpoint", "")).startswith(("http://", "https://")):
        raise BadInput("signal.endpoint is not an http(s) URL")
    cluster = document.get("cluster")
    return Signal(str(fields["endpoint"]), str(fields.get("token", "")), _certificates(cluster or {}))


def _certificates(cluster: Any) -> str:
    text = str((cluster.get("cloud_ca") if isinstance(cluster, dict) else "") or "")
    if not text:
        return ""
    try:
        verifying(text)
    except (ValueError, OSError) as error:
        raise BadInput(f"cluster.cloud_ca has no PEM certificates: {error}") from error
    return text


def verifying(certificates: str) -> ssl.SSLContext:
    """A client's context that trusts Debian's CAs, and these PEM certificates; ValueError or OSError."""
    context = ssl.create_default_context()
    if certificates:
        context.load_verify_locations(cadata=certificates)
    return context


def _section(document: Mapping[str, Any], key: str, required: bool = True) -> dict[str, Any]:
    section = document.get(key)
    if section is None and not required:
        return {}
    if not isinstance(section, dict):
        raise BadInput(f"{key} is missing or not a mapping")
    return section


def _taint(fields: Any) -> Taint:
    if not isinstance(fields, dict) or not fields.get("key") or not fields.get("effect"):
        raise BadInput(f"node.taints has {fields!r}: it must have a key and an effect")
    return Taint(str(fields["key"]), str(fields["effect"]), str(fields.get("value") or ""))


def _choice(fields: Mapping[str, Any], key: str, choices: tuple[str, ...], default: str | None = None) -> str:
    value = fields.get(key) or default
    if value not in choices:
        raise BadInput(f"{key} is {value!r}: it must be one of {', '.join(choices)}")
    return str(value)


def _match(pattern: re.Pattern[str], value: Any, key: str, what: str, hide: bool = False) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = "not of the right form" if hide else repr(value)
        raise BadInput(f"{key} is {shown}: it must be {what}")
    return value


def _address(fields: Mapping[str, Any], key: str) -> str:
    try:
        return str(ipaddress.IPv4Address(str(fields.get(key))))
    except ValueError as error:
        raise BadInput(f"cluster.{key} is {fields.get(key)!r}: it must be an IPv4 address") from error


def _network(fields: Mapping[str, Any], key: str) -> str:
    try:
        return str(ipaddress.IPv4Network(str(fields.get(key))))
    except ValueError as error:
        raise BadInput(f"cluster.{key} is {fields.get(key)!r}: it must be an IPv4 network") from error


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"ready_timeout is {value!r}: it must be seconds") from error
    if seconds <= 0:
        raise BadInput(f"ready_timeout is {value!r}: it must be more than 0")
    return seconds
