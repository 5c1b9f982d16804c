"""Load balancers of the real Octavia, in the real OVN: what is asked for is there, and gone when it is deleted."""

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

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self.session.request(method, "load-balancer", f"{ROOT}{path}", body)

    def settled(self, load_balancer: str) -> dict[str, Any]:
        """The load balancer, once Octavia is done with it."""
        found: dict[str, Any] = until(
            lambda: self.ask("GET", f"/loadbalancers/{load_balancer}")["loadbalancer"],
            lambda seen: not seen["provisioning_status"].startswith("PENDING"),
            seconds=30,
        )
        return found

    def rules(self) -> str:
        """What OVN itself has."""
        command = ["ovn-nbctl", f"--db=unix:{self.cloud.layout.northbound_socket}", "list", "Load_Balancer"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def load_balancers(cloud: Any) -> LoadBalancers:
    return LoadBalancers(cloud)


def test_load_balancer_is_in_ovn_until_deleted(load_balancers: LoadBalancers) -> None:
    wanted = {"name": "front", "vip_subnet_id": load_balancers.subnet, "provider": "ovn"}
    front = load_balancers.ask("POST", "/loadbalancers", {"loadbalancer": wanted})["loadbalancer"]
    assert load_balancers.settled(front["id"])["provisioning_status"] == "ACTIVE"
    listener = {"name": "web", "protocol": "TCP", "protocol_port": 80, "loadbalancer_id": front["id"]}
    listener = load_balancers.ask("POST", "/listeners", {"listener": listener})["listener"]
    load_balancers.settled(front["id"])
    pool = {"protocol": "TCP", "lb_algorithm": "SOURCE_IP_PORT", "listener_id": listener["id"]}
    pool = load_balancers.ask("POST", "/pools", {"pool": pool})["pool"]
    load_balancers.settled(front["id"])
    members = [
        {"address": f"10.77.0.{100 + number}", "protocol_port": 30080, "subnet_id": load_balancers.subnet}
        for number in range(3)
    ]
    load_balancers.ask("PUT", f"/pools/{pool['id']}/members", {"members": members})
    assert load_balancers.settled(front["id"])["provisioning_status"] == "ACTIVE"
    rules = load_balancers.rules()
    assert f"{front['vip_address']}:80" in rules
    assert "10.77.0.102:30080" in rules
    load_balancers.ask("DELETE", f"/loadbalancers/{front['id']}?cascade=true")
    until(lambda: not load_balancers.ask("GET", "/loadbalancers")["loadbalancers"], seconds=30)
    assert front["vip_address"] not in load_balancers.rules()
