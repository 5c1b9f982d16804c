"""Nova's network data as files of systemd-networkd."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.model.errors import BadInput
from moorage.node.network import configuration

pytestmark = pytest.mark.unit


def link(index: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": f"tap{index}",
        "type": "ovs",
        "mtu": 1442,
        "ethernet_mac_address": f"FA:16:3E:00:00:0{index}",
    } | changed


def network(index: int, type: str, **more: Any) -> dict[str, Any]:
    return {"id": f"network{index}", "type": type, "link": f"tap{index}", **more}


STATIC = network(
    0,
    "ipv4",
    ip_address="10.0.0.5",
    netmask="255.255.255.0",
    routes=[{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}],
    services=[{"type": "dns", "address": "10.0.0.2"}],
)


def test_one_interface_with_dhcp_needs_no_file() -> None:
    assert configuration({}).files == {}
    assert configuration({"links": [link(0)], "networks": [network(0, "ipv4_dhcp")]}).files == {}


def test_static_interface() -> None:
    described = {
        "links": [link(0, ethernet_mac_address="FA:16:3E:00:00:0A")],
        "networks": [STATIC],
        "services": [{"type": "dns", "address": "10.0.0.2"}, {"type": "dns", "address": "8.8.4.4"}],
    }
    assert configuration(described).files["08-port-0.network"].splitlines() == [
        "[Match]",
        "MACAddress=fa:16:3e:00:00:0a",
        "Type=ether",
        "[Link]",
        "MTUBytes=1442",
        "[Network]",
        "DHCP=no",
        "LinkLocalAddressing=no",
        "IPv6AcceptRA=no",
        "Address=10.0.0.5/24",
        "DNS=10.0.0.2",
        "DNS=8.8.4.4",
        "[Route]",
        "Destination=0.0.0.0/0",
        "Gateway=10.0.0.1",
        "Metric=1024",
    ]


def test_first_of_several_interfaces_has_the_default_route() -> None:
    described = {"links": [link(0), link(1)], "networks": [network(0, "ipv4_dhcp"), network(1, "ipv4_dhcp")]}
    first, second = configuration(described).files.values()
    assert first.splitlines()[-1] == "RouteMetric=1024"
    assert second.splitlines()[-1] == "RouteMetric=2048"
    assert "MACAddress=fa:16:3e:00:00:01" in second


def test_interface_without_a_network_gets_no_address() -> None:
    described = {"links": [link(0), link(1)], "networks": [network(0, "ipv4_dhcp")]}
    assert "DHCP=no" in configuration(described).files["08-port-1.network"]


@pytest.mark.parametrize(("type", "accepted"), [("ipv6_slaac", "yes"), ("ipv6_dhcpv6-stateful", "yes"), ("ipv6", "no")])
def test_ipv6_beside_dhcp(type: str, accepted: str) -> None:
    own = network(0, type, ip_address="fd00::5", netmask="ffff:ffff:ffff:ffff::")
    lines = configuration({"links": [link(0)], "networks": [network(0, "ipv4_dhcp"), own]}).files["08-port-0.network"]
    assert "DHCP=ipv4" in lines
    assert "LinkLocalAddressing=ipv6" in lines
    assert f"IPv6AcceptRA={accepted}" in lines
    assert ("Address=fd00::5/64" in lines) == (type == "ipv6")


def test_what_is_not_supported_is_named() -> None:
    described = {"links": [link(0)], "networks": [network(0, "ipv4_dhcp"), network(0, "ipv9")]}
    assert configuration(described).ignored == ("network network0: ipv9 is not supported",)
    assert "DHCP=ipv4" in configuration(described).files["08-port-0.network"]


def test_parts_of_a_bond_keep_dhcp() -> None:
    described = {"links": [link(0), link(1), link(2, type="bond")], "networks": [network(2, "ipv4")]}
    found = configuration(described)
    assert found.files == {}
    assert found.ignored[0] == "interface tap2: bond is not supported"


@pytest.mark.parametrize(
    "described",
    [
        {"links": [{}, {}]},
        {"links": 1},
        {"links": [link(0)], "networks": [network(0, "ipv4")]},
        {"links": [link(0)], "networks": [{**STATIC, "ip_address": "nonsense"}]},
        {
            "links": [link(0)],
            "networks": [{**STATIC, "routes": [{"network": "0.0.0.0", "gateway": "10.0.0.1\n[Link]"}]}],
        },
        {"links": [link(0), link(1, ethernet_mac_address="fa:16:3e:00:00:01\n[Network]")]},
    ],
)
def test_other_documents_are_bad_input(described: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="the cloud's network data cannot be understood"):
        configuration(described)
