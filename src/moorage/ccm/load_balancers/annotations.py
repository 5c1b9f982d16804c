"""The annotations with which a Service configures its load balancer: their table and their parser. Pure.

The names are those of OpenStack's cloud provider. A test checks docs/load-balancers.md against the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from moorage.ccm.load_balancers.settings import Provider
from moorage.cloud.port.load_balancers import Timeouts
from moorage.model.errors import BadInput

PREFIX = "loadbalancer.openstack.org/"
INTERNAL = "service.beta.kubernetes.io/openstack-internal-load-balancer"
LOAD_BALANCER_ID = f"{PREFIX}load-balancer-id"
KEEP = f"{PREFIX}keep-floatingip"


@dataclass(frozen=True)
class ServiceOptions:
    """The values of the annotations; None and empty mean not set. `monitor_*` times are in seconds, timeouts in ms."""

    internal: bool = False
    floating_network: str = ""
    floating_subnet: str = ""
    floating_subnet_id: str = ""
    floating_subnet_tags: tuple[str, ...] = ()
    keep_floating: bool = False
    network: str = ""
    subnet: str = ""
    port: str = ""
    member_subnet: str = ""
    load_balancer: str = ""
    hostname: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    algorithm: str = ""
    connections: int = -1
    proxy: str = ""
    forwarded_for: bool = False
    flavor: str = ""
    zone: str = ""
    monitor: bool | None = None
    monitor_delay: int | None = None
    monitor_timeout: int | None = None
    monitor_retries: int | None = None
    monitor_retries_down: int | None = None
    client_data: int | None = None
    member_connect: int | None = None
    member_data: int | None = None
    tcp_inspect: int | None = None

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(self.client_data, self.member_connect, self.member_data, self.tcp_inspect)


Parser = Callable[[str], Any]


@dataclass(frozen=True)
class Annotation:
    """A row of the table. `needs` names the attribute of `Provider` that the annotation requires.

    An unsupported annotation that changes what clients or applications see `rejects` the Service. Others are ignored,
    with a warning that states the `reason`.
    """

    name: str
    field: str
    parse: Parser
    supported: Literal["yes", "partly", "no"] = "yes"
    reason: str = ""
    needs: str = ""
    rejects: bool = False


@dataclass(frozen=True)
class ParsedAnnotations:
    """The options, and a warning for each annotation that is ignored."""

    options: ServiceOptions
    warnings: tuple[str, ...] = ()


def _parse_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError('"true" or "false"')
    return text.lower() == "true"


def _integer(lowest: int, highest: int = 2**31 - 1) -> Parser:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,10}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"a whole number from {lowest}" + (f" to {highest}" if highest < 2**31 - 1 else ""))
        return int(text)

    return parse


def _parse_text(text: str) -> str:
    if not text:
        raise ValueError("not empty")
    return text


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _parse_labels(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple(tuple(item.partition("=")[::2]) for item in _parse_list(text))
    if not all(name for name, _ in pairs):
        raise ValueError("labels as in disk=ssd,zone=a")
    return tuple((name.strip(), value.strip()) for name, value in pairs)


def _parse_subnet_name(text: str) -> str:
    if not text or text[0] in "!~&" or "*" in text or "?" in text:
        raise ValueError("the exact name of the subnet: patterns are not supported")
    return text


def _parse_subnet_tags(text: str) -> tuple[str, ...]:
    if text[:1] in ("!", "&"):
        raise ValueError("tags, of which the subnet has at least one: ! and & are not supported")
    return _parse_list(text)


def _parse_proxy(text: str) -> str:
    versions = {"true": "PROXY", "v1": "PROXY", "v2": "PROXYV2", "false": ""}
    if text.lower() not in versions:
        raise ValueError('"true", "v1", "v2" or "false"')
    return versions[text.lower()]


_CREATION = "applies when the load balancer is created; a later change does nothing"
_RETRIES = _integer(1, 10)

TABLE = (
    Annotation(INTERNAL, "internal", _parse_bool),
    Annotation(
        "floating-network-id", "floating_network", _parse_text, "partly", "applies when the floating IP is created"
    ),
    Annotation(
        "floating-subnet", "floating_subnet", _parse_subnet_name, "partly", "the exact name of the subnet, no patterns"
    ),
    Annotation("floating-subnet-id", "floating_subnet_id", _parse_text),
    Annotation(
        "floating-subnet-tags",
        "floating_subnet_tags",
        _parse_subnet_tags,
        "partly",
        "one matching tag is enough; no ! and &",
    ),
    Annotation("keep-floatingip", "keep_floating", _parse_bool),
    Annotation("network-id", "network", _parse_text, "partly", _CREATION),
    Annotation("subnet-id", "subnet", _parse_text, "partly", _CREATION),
    Annotation("port-id", "port", _parse_text, "partly", _CREATION),
    Annotation("member-subnet-id", "member_subnet", _parse_text, "partly", "applies to members that are added later"),
    Annotation(
        "load-balancer-id",
        "load_balancer",
        _parse_text,
        "partly",
        "uses an existing load balancer; Moorage never writes the annotation, an Event shows the id",
    ),
    Annotation("hostname", "hostname", _parse_text),
    Annotation("node-selector", "node_selector", _parse_labels),
    Annotation(
        "lb-method",
        "algorithm",
        _parse_text,
        "partly",
        "the algorithms of the provider; ovn: SOURCE_IP_PORT, SOURCE_IP",
    ),
    Annotation("connection-limit", "connections", _integer(-1), needs="limits"),
    Annotation("timeout-client-data", "client_data", _integer(0, 31536000000), needs="limits"),
    Annotation("timeout-member-connect", "member_connect", _integer(0, 31536000000), needs="limits"),
    Annotation("timeout-member-data", "member_data", _integer(0, 31536000000), needs="limits"),
    Annotation("timeout-tcp-inspect", "tcp_inspect", _integer(0, 31536000000), needs="limits"),
    Annotation("proxy-protocol", "proxy", _parse_proxy, needs="http", rejects=True),
    Annotation("x-forwarded-for", "forwarded_for", _parse_bool, needs="http", rejects=True),
    Annotation("flavor-id", "flavor", _parse_text, "partly", _CREATION, needs="flavors"),
    Annotation("availability-zone", "zone", _parse_text, "partly", _CREATION, needs="flavors"),
    Annotation("enable-health-monitor", "monitor", _parse_bool),
    Annotation("health-monitor-delay", "monitor_delay", _integer(1)),
    Annotation("health-monitor-timeout", "monitor_timeout", _integer(1)),
    Annotation("health-monitor-max-retries", "monitor_retries", _RETRIES),
    Annotation("health-monitor-max-retries-down", "monitor_retries_down", _RETRIES),
    Annotation(
        "load-balancer-address",
        "",
        _parse_text,
        "partly",
        "status written by OpenStack's cloud provider: ignored without a warning",
    ),
    Annotation(
        "class", "", _parse_text, "no", "Moorage has no file of classes: use the annotations for networks", rejects=True
    ),
    Annotation(
        "default-tls-container-ref",
        "",
        _parse_text,
        "no",
        "TLS is terminated in the cluster: use an ingress or a gateway",
        rejects=True,
    ),
)
_BY_NAME = {row.name if row.name == INTERNAL else PREFIX + row.name: row for row in TABLE}


def parse_annotations(annotations: Mapping[str, str], provider: Provider) -> ParsedAnnotations:
    """Raises BadInput for an invalid value, and for an unsupported annotation that would change what clients see."""
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name in sorted(annotations):
        row = _BY_NAME.get(name)
        if row is not None:
            _parse_row(row, name, annotations[name], provider, values, warnings)
        elif name.startswith(PREFIX):
            warnings.append(f"the annotation {name} is unknown and does nothing: check its spelling")
    options = replace(ServiceOptions(), **values)
    _validate(options, provider)
    return ParsedAnnotations(options, tuple(warnings))


def _parse_row(
    row: Annotation, name: str, text: str, provider: Provider, values: dict[str, Any], warnings: list[str]
) -> None:
    value = _parse_value(row, name, text)
    unsupported = row.needs and not getattr(provider, row.needs)
    if (unsupported and value != getattr(ServiceOptions(), row.field)) or row.supported == "no":
        reason = row.reason if row.supported == "no" else f"Octavia's provider {provider.name} does not support it"
        if row.rejects:
            raise BadInput(f"the annotation {name} is not supported: {reason}", "remove the annotation")
        warnings.append(f"the annotation {name} does nothing: {reason}")
    elif row.field and not unsupported:
        values[row.field] = value


def _parse_value(row: Annotation, name: str, text: str) -> Any:
    try:
        return row.parse(text.strip())
    except ValueError as error:
        raise BadInput(f"the annotation {name} is {text!r}, and must be {error}", "correct it") from error


def _validate(options: ServiceOptions, provider: Provider) -> None:
    if options.algorithm and options.algorithm not in provider.algorithms:
        raise BadInput(
            f"the annotation {PREFIX}lb-method is {options.algorithm!r}, which the provider {provider.name} does not "
            "support",
            f"use {' or '.join(provider.algorithms)}",
        )
    if options.proxy and options.forwarded_for:
        raise BadInput(f"the annotations {PREFIX}proxy-protocol and x-forwarded-for exclude each other", "keep one")
