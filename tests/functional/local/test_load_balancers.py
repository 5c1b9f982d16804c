"""Load balancers of the real Octavia exist in the real OVN until they are deleted."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from moorage.local import secrets, seed
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.cloud, pytest.mark.timeout(300)]

ROOT = "/v2.0/lbaas"


class LoadBalancers:
    """The administrator's project, with a network."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.session = seed.administrator(secrets.ensure(cloud.layout.secrets))
        network = self.network("POST", "/networks", {"network": {"name": "balanced"}})["network"]["id"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.77.0.0/24"}
        self.subnet = self.network("POST", "/subnets", {"subnet": subnet})["subnet"]["id"]

    def network(self, method: str, path: str, body: Any = None) -> Any:
        return self.session.request(method, "network", f"/v2.0{path}", body)

    def octavia(self, method: str, path: str, body: Any = None) -> Any:
        return self.session.request(method, "load-balancer", f"{ROOT}{path}", body)

    def wait_until_done(self, load_balancer: str) -> dict[str, Any]:
        """Returns the load balancer once it is not PENDING."""
        found: dict[str, Any] = until(
            lambda: self.octavia("GET", f"/loadbalancers/{load_balancer}")["loadbalancer"],
            lambda current: not current["provisioning_status"].startswith("PENDING"),
            seconds=30,
        )
        return found

    def ovn_load_balancers(self) -> str:
        """OVN's own list of load balancers."""
        command = ["ovn-nbctl", f"--db=unix:{self.cloud.layout.northbound_socket}", "list", "Load_Balancer"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def load_balancers(cloud: Any) -> LoadBalancers:
    return LoadBalancers(cloud)


def test_load_balancer_with_members_exists_in_ovn_until_deleted(load_balancers: LoadBalancers) -> None:
    body = {"name": "front", "vip_subnet_id": load_balancers.subnet, "provider": "ovn"}
    created = load_balancers.octavia("POST", "/loadbalancers", {"loadbalancer": body})["loadbalancer"]
    assert load_balancers.wait_until_done(created["id"])["provisioning_status"] == "ACTIVE"
    listener = {"name": "web", "protocol": "TCP", "protocol_port": 80, "loadbalancer_id": created["id"]}
    listener = load_balancers.octavia("POST", "/listeners", {"listener": listener})["listener"]
    load_balancers.wait_until_done(created["id"])
    pool = {"protocol": "TCP", "lb_algorithm": "SOURCE_IP_PORT", "listener_id": listener["id"]}
    pool = load_balancers.octavia("POST", "/pools", {"pool": pool})["pool"]
    load_balancers.wait_until_done(created["id"])
    members = [
        {"address": f"10.77.0.{100 + number}", "protocol_port": 30080, "subnet_id": load_balancers.subnet}
        for number in range(3)
    ]
    load_balancers.octavia("PUT", f"/pools/{pool['id']}/members", {"members": members})
    assert load_balancers.wait_until_done(created["id"])["provisioning_status"] == "ACTIVE"
    listing = load_balancers.ovn_load_balancers()
    assert f"{created['vip_address']}:80" in listing
    assert "10.77.0.102:30080" in listing
    load_balancers.octavia("DELETE", f"/loadbalancers/{created['id']}?cascade=true")
    until(lambda: not load_balancers.octavia("GET", "/loadbalancers")["loadbalancers"], seconds=30)
    assert created["vip_address"] not in load_balancers.ovn_load_balancers()
