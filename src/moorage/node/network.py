"""The cloud's description of a server's network (`network_data.json`) as files for systemd-networkd. Pure.

Sources: Nova's schema of network_data.json (in Nova's user guide, "Metadata"); systemd.network(5). A server with one
interface and DHCP needs no file: the image has it configured.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moorage.model.errors import BadInput

DHCP = "ipv4_dhcp"
TYPES = (DHCP, "ipv4", "ipv6", "ipv6_slaac", "ipv6_dhcpv6-stateful", "ipv6_dhcpv6-stateless")
DESCRIBED_ONLY = ("bond", "vlan")
"""Types of links that are not an interface of the server."""
MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
METRIC = 1024
"""Of the first interface's routes; each further one has a multiple, so that the first has the default route."""


@dataclass(frozen=True)
class Network:
    """Files by name, and messages about what is not configured."""

    files: Mapping[str, str]
    ignored: tuple[str, ...] = ()


def configuration(document: Mapping[str, Any]) -> Network:
    """Files of /run/systemd/network, one for each interface; BadInput when the document is not of Nova's form.

    None when interfaces are parts of others that are not supported: DHCP may reach the cloud all the same.
    """
    try:
        return _configuration(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadInput(f"the cloud's network data cannot be understood: {reason}") from error


def _configuration(document: Mapping[str, Any]) -> Network:
    ignored = [f"interface {link['id']}: {link['type']} is not supported" for link in _links(document, described=True)]
    networks = list(document.get("networks") or ())
    ignored += [
        f"network {one.get('id')}: {one['type']} is not supported" for one in networks if one["type"] not in TYPES
    ]
    links = _links(document, described=False)
    if _links(document, described=True):
        return Network({}, (*ignored, "the server's interfaces are configured by DHCP"))
    if len(links) < 2 and all(network["type"] == DHCP for network in networks):
        return Network({}, tuple(ignored))
    servers = _servers(document)
    files = {}
    for index, link in enumerate(links):
        own = [network for network in networks if network["type"] in TYPES and network["link"] == link["id"]]
        files[f"08-port-{index}.network"] = "\n".join(_file(link, own, servers, METRIC * (index + 1))) + "\n"
    return Network(files, tuple(ignored))


def _links(document: Mapping[str, Any], *, described: bool) -> list[Mapping[str, Any]]:
    return [link for link in document.get("links") or () if (link.get("type") in DESCRIBED_ONLY) == described]


def _file(
    link: Mapping[str, Any], networks: Sequence[Mapping[str, Any]], servers: Sequence[str], metric: int
) -> Iterator[str]:
    types = {network["type"] for network in networks}
    with_ipv6 = any(type.startswith("ipv6") for type in types)
    yield from ("[Match]", f"MACAddress={_mac(link['ethernet_mac_address'])}", "Type=ether")
    if link.get("mtu"):
        yield from ("[Link]", f"MTUBytes={int(link['mtu'])}")
    yield from ("[Network]", f"DHCP={'ipv4' if DHCP in types else 'no'}")
    yield f"LinkLocalAddressing={'ipv6' if with_ipv6 else 'no'}"
    # The router's announcement says whether addresses come from DHCPv6.
    yield f"IPv6AcceptRA={'yes' if types & set(TYPES[3:]) else 'no'}"
    static = [network for network in networks if network["type"] in ("ipv4", "ipv6")]
    for network in static:
        yield f"Address={_interface(network)}"
    for server in dict.fromkeys([*(server for network in static for server in _servers(network)), *servers]):
        yield f"DNS={server}"
    for network in static:
        for route in network.get("routes") or ():
            yield from _route(route, metric)
    if DHCP in types:
        yield from ("[DHCPv4]", "ClientIdentifier=mac", "UseMTU=yes", "UseHostname=no", "UseDomains=no")
        yield from ("SendHostname=no", f"RouteMetric={metric}")


def _mac(text: str) -> str:
    if not MAC.fullmatch(text):
        raise ValueError(f"{text!r} is not a MAC address")
    return text.lower()


def _route(route: Mapping[str, Any], metric: int) -> Iterator[str]:
    destination = ipaddress.ip_network(_with_mask(route["network"], route.get("netmask")))
    yield from ("[Route]", f"Destination={destination}", f"Gateway={ipaddress.ip_address(route['gateway'])}")
    yield f"Metric={metric}"


def _interface(network: Mapping[str, Any]) -> str:
    return str(ipaddress.ip_interface(_with_mask(network["ip_address"], network.get("netmask"))))


def _with_mask(address: str, mask: Any) -> str:
    """ADDRESS/LENGTH; Nova writes masks of IPv6 as addresses too, which Python does not read."""
    if not mask or "/" in address:
        return address
    bits = int(ipaddress.ip_address(str(mask)))
    return f"{address}/{bits.bit_count()}"


def _servers(described: Mapping[str, Any]) -> list[str]:
    services = described.get("services") or ()
    return [str(ipaddress.ip_address(one["address"])) for one in services if one.get("type") == "dns"]
