"""The annotations with which a Service configures its load balancer: one table and one reader. Pure.

The names are those of OpenStack's cloud provider; a test compares docs/load-balancers.md with the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from moorage.ccm.load_balancers.settings import Provider
from moorage.cloud.load_balancers import Timeouts
from moorage.model.errors import BadInput

PREFIX = "loadbalancer.openstack.org/"
INTERNAL = "service.beta.kubernetes.io/openstack-internal-load-balancer"
LOAD_BALANCER_ID = f"{PREFIX}load-balancer-id"
KEEP = f"{PREFIX}keep-floatingip"


@dataclass(frozen=True)
class ServiceOptions:
    """The options of a Service.

    None and empty mean unset. Times have the annotation's unit: monitors seconds, timeouts ms.
    """

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


Reader = Callable[[str], Any]


@dataclass(frozen=True)
class Annotation:
    """A row of the table. Providers without the capability `needs` do not support it.

    An unsupported annotation that changes what clients or applications see `stops` the Service. Others are ignored,
    with an Event.
    """

    name: str
    field: str
    read: Reader
    honoured: Literal["yes", "in part", "no"] = "yes"
    why: str = ""
    needs: str = ""
    stops: bool = False


@dataclass(frozen=True)
class Reading:
    """The options, and a message for each annotation that is not honoured."""

    options: ServiceOptions
    refused: tuple[str, ...] = ()


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError('"true" or "false"')
    return text.lower() == "true"


def _number(lowest: int, highest: int = 2**31 - 1) -> Reader:
    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,10}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"a whole number from {lowest}" + (f" to {highest}" if highest < 2**31 - 1 else ""))
        return int(text)

    return read


def _word(text: str) -> str:
    if not text:
        raise ValueError("not to be empty")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple(tuple(word.partition("=")[::2]) for word in _words(text))
    if not all(name for name, _ in pairs):
        raise ValueError("labels such as disk=ssd,zone=a")
    return tuple((name.strip(), value.strip()) for name, value in pairs)


def _plain_name(text: str) -> str:
    if not text or text[0] in "!~&" or "*" in text or "?" in text:
        raise ValueError("the subnet's exact name: patterns are not supported")
    return text


def _plain_tags(text: str) -> tuple[str, ...]:
    if text[:1] in ("!", "&"):
        raise ValueError("tags of which one is enough: ! and & are not supported")
    return _words(text)


def _proxy(text: str) -> str:
    versions = {"true": "PROXY", "v1": "PROXY", "v2": "PROXYV2", "false": ""}
    if text.lower() not in versions:
        raise ValueError('"true", "v1", "v2" or "false"')
    return versions[text.lower()]


_CREATION = "effective when the load balancer is created; a later change does nothing"
_RETRIES = _number(1, 10)

TABLE = (
    Annotation(INTERNAL, "internal", _flag),
    Annotation(
        "floating-network-id", "floating_network", _word, "in part", "effective when the floating IP is created"
    ),
    Annotation("floating-subnet", "floating_subnet", _plain_name, "in part", "the subnet's exact name, no patterns"),
    Annotation("floating-subnet-id", "floating_subnet_id", _word),
    Annotation(
        "floating-subnet-tags", "floating_subnet_tags", _plain_tags, "in part", "one of the tags is enough; no ! and &"
    ),
    Annotation("keep-floatingip", "keep_floating", _flag),
    Annotation("network-id", "network", _word, "in part", _CREATION),
    Annotation("subnet-id", "subnet", _word, "in part", _CREATION),
    Annotation("port-id", "port", _word, "in part", _CREATION),
    Annotation("member-subnet-id", "member_subnet", _word, "in part", "effective for members that are added later"),
    Annotation(
        "load-balancer-id",
        "load_balancer",
        _word,
        "in part",
        "used when given; never written by us, an Event has the id",
    ),
    Annotation("hostname", "hostname", _word),
    Annotation("node-selector", "node_selector", _pairs),
    Annotation(
        "lb-method", "algorithm", _word, "in part", "what the provider supports; ovn: SOURCE_IP_PORT, SOURCE_IP"
    ),
    Annotation("connection-limit", "connections", _number(-1), needs="limits"),
    Annotation("timeout-client-data", "client_data", _number(0, 31536000000), needs="limits"),
    Annotation("timeout-member-connect", "member_connect", _number(0, 31536000000), needs="limits"),
    Annotation("timeout-member-data", "member_data", _number(0, 31536000000), needs="limits"),
    Annotation("timeout-tcp-inspect", "tcp_inspect", _number(0, 31536000000), needs="limits"),
    Annotation("proxy-protocol", "proxy", _proxy, needs="http", stops=True),
    Annotation("x-forwarded-for", "forwarded_for", _flag, needs="http", stops=True),
    Annotation("flavor-id", "flavor", _word, "in part", _CREATION, needs="flavors"),
    Annotation("availability-zone", "zone", _word, "in part", _CREATION, needs="flavors"),
    Annotation("enable-health-monitor", "monitor", _flag),
    Annotation("health-monitor-delay", "monitor_delay", _number(1)),
    Annotation("health-monitor-timeout", "monitor_timeout", _number(1)),
    Annotation("health-monitor-max-retries", "monitor_retries", _RETRIES),
    Annotation("health-monitor-max-retries-down", "monitor_retries_down", _RETRIES),
    Annotation(
        "load-balancer-address", "", _word, "in part", "written by OpenStack's cloud provider: ignored without an Event"
    ),
    Annotation("class", "", _word, "no", "there is no file with classes: use the annotations for networks", stops=True),
    Annotation(
        "default-tls-container-ref", "", _word, "no", "TLS ends in the cluster: use an ingress or gateway", stops=True
    ),
)
_BY_NAME = {row.name if row.name == INTERNAL else PREFIX + row.name: row for row in TABLE}


def read(annotations: Mapping[str, str], provider: Provider) -> Reading:
    """Read a Service's annotations.

    BadInput when a value is invalid, or when an unsupported annotation would change what clients or applications see.
    """
    values: dict[str, Any] = {}
    refused: list[str] = []
    for name in sorted(annotations):
        row = _BY_NAME.get(name)
        if row is not None:
            _take(row, name, annotations[name], provider, values, refused)
        elif name.startswith(PREFIX):
            refused.append(f"the annotation {name} is not known and is ignored: check its spelling")
    options = replace(ServiceOptions(), **values)
    _check(options, provider)
    return Reading(options, tuple(refused))


def _take(
    row: Annotation, name: str, text: str, provider: Provider, values: dict[str, Any], refused: list[str]
) -> None:
    value = _parsed(row, name, text)
    lacking = row.needs and not getattr(provider, row.needs)
    if (lacking and value != getattr(ServiceOptions(), row.field)) or row.honoured == "no":
        why = row.why or f"Octavia's provider {provider.name} does not support it"
        if row.stops:
            raise BadInput(f"the annotation {name} cannot be honoured: {why}", "remove the annotation")
        refused.append(f"the annotation {name} is ignored: {why}")
    elif row.field and not lacking:
        values[row.field] = value


def _parsed(row: Annotation, name: str, text: str) -> Any:
    try:
        return row.read(text.strip())
    except ValueError as error:
        raise BadInput(f"the annotation {name} is {text!r}, and must be {error}", "correct it") from error


def _check(options: ServiceOptions, provider: Provider) -> None:
    if options.algorithm and options.algorithm not in provider.algorithms:
        raise BadInput(
            f"the annotation {PREFIX}lb-method is {options.algorithm!r}:"
            f" the provider {provider.name} does not support it",
            f"use {' or '.join(provider.algorithms)}",
        )
    if options.proxy and options.forwarded_for:
        raise BadInput(f"the annotations {PREFIX}proxy-protocol and x-forwarded-for exclude each other", "keep one")
