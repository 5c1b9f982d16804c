"""Requests to Octavia and Neutron, and the conversion of their responses."""

from __future__ import annotations

import pytest
from keystoneauth1.session import Session as RealSession

from answers import Answer
from moorage.cloud.openstack.load_balancers import OpenStackLoadBalancers
from moorage.cloud.openstack.network import OpenStackNetwork
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool, Timeouts
from moorage.cloud.port.network import FloatingIP, SecurityGroupRule, Subnet
from moorage.model.errors import BadInput, Conflict, QuotaExceeded

pytestmark = pytest.mark.unit

MONITOR = HealthMonitor("HTTP", 5, 3, 1, 3, "/healthz")
POOL = Pool("pool", "TCP", "ROUND_ROBIN", (Member("10.0.0.1", 30080, "s", 32000, "a"),), MONITOR, "SOURCE_IP")
LISTENER = Listener("front", "TCP", 80, POOL, ("t",), ("192.0.2.0/24",), 9, False, Timeouts(client_data=7))
ROWS = {
    "/loadbalancers/lb/status": {"statuses": {"loadbalancer": {"provisioning_status": "PENDING_UPDATE"}}},
    "/loadbalancers/lb": {
        "loadbalancer": {
            "id": "lb",
            "name": "n",
            "provider": "ovn",
            "description": "",
            "tags": ["t"],
            "vip_network_id": "net",
            "vip_subnet_id": "s",
            "vip_port_id": "port",
            "vip_address": "10.0.0.9",
            "flavor_id": None,
            "availability_zone": None,
            "provisioning_status": "PENDING_UPDATE",
            "operating_status": "ONLINE",
            "pools": [{"id": "p"}],
        }
    },
    "/listeners": {
        "listeners": [
            {
                "id": "l",
                "name": "front",
                "protocol": "TCP",
                "protocol_port": 80,
                "default_pool_id": "p",
                "tags": ["t"],
                "allowed_cidrs": None,
                "connection_limit": -1,
                "insert_headers": {},
                "timeout_client_data": 50000,
            }
        ]
    },
    "/pools": {
        "pools": [
            {
                "id": "p",
                "name": "pool",
                "protocol": "TCP",
                "lb_algorithm": "SOURCE_IP_PORT",
                "session_persistence": {"type": "SOURCE_IP"},
                "members": [{"id": "m"}],
                "healthmonitor_id": "h",
            }
        ]
    },
    "/pools/p/members": {
        "members": [
            {"address": "10.0.0.1", "protocol_port": 30080, "subnet_id": "s", "monitor_port": None, "name": "a"}
        ]
    },
    "/healthmonitors/h": {
        "healthmonitor": {
            "id": "h",
            "type": "TCP",
            "delay": 5,
            "timeout": 3,
            "max_retries": 1,
            "max_retries_down": 3,
            "url_path": None,
        }
    },
}


class Session(RealSession):
    """Returns responses by path, and records requests."""

    def __init__(self, answers):
        self.answers, self.requests = answers, []

    def get_endpoint(self, *_, service_type, **__):
        return f"http://{service_type}"

    def get_project_id(self):
        return "project"

    def request(self, url, method, json=None, params=None, **_):
        path = url.partition("//")[2].partition("/")[2].removeprefix("v2/lbaas").removeprefix("v2.0")
        self.requests.append((method, path, json if json is not None else params))
        answer = self.answers.get(path, Answer(404, {}))
        return answer if isinstance(answer, Answer) else Answer(200, answer)


def octavia(answers=ROWS):
    session = Session(answers)
    return OpenStackLoadBalancers(Rest(session, "mine", "R", "public")), session


def neutron(answers):
    session = Session(answers)
    return OpenStackNetwork(Rest(session, "mine", "R", "public")), session


def test_tree_reads_all_parts():
    port, session = octavia()
    load_balancer = port.get("lb")
    pool = Pool("pool", "TCP", "SOURCE_IP_PORT", (Member("10.0.0.1", 30080, "s", None, "a"),), None, "SOURCE_IP", "p")
    monitor = HealthMonitor("TCP", 5, 3, 1, 3, "", "h")
    (listener,) = load_balancer.listeners
    assert (listener.id, listener.port, listener.allowed_cidrs, listener.timeouts.client_data) == ("l", 80, (), 50000)
    assert listener.pool == Pool(**{**vars(pool), "monitor": monitor})
    assert (load_balancer.port, load_balancer.address, load_balancer.flavor, load_balancer.pending) == (
        "port",
        "10.0.0.9",
        "",
        True,
    )
    requests = [(path, query) for _, path, query in session.requests if query]
    assert requests == [("/pools", {"loadbalancer_id": "lb"}), ("/listeners", {"loadbalancer_id": "lb"})]


def test_missing_load_balancer_is_none():
    port, _ = octavia()
    assert port.get("gone") is None
    assert port.status("gone") == ""


@pytest.mark.parametrize(
    ("whole", "part", "status"),
    [
        ("ACTIVE", "ACTIVE", "ACTIVE"),
        ("ACTIVE", "PENDING_DELETE", "PENDING_DELETE"),
        ("PENDING_UPDATE", "ACTIVE", "PENDING_UPDATE"),
        ("ERROR", "PENDING_CREATE", "ERROR"),
        ("ACTIVE", "ERROR", "ACTIVE"),
    ],
)
def test_status_is_that_of_slowest_part(whole, part, status):
    member = {"provisioning_status": part}
    pool = {"provisioning_status": "ACTIVE", "members": [{"provisioning_status": "ACTIVE"}, member]}
    listener = {"provisioning_status": "ACTIVE", "pools": [pool | {"health_monitor": None}]}
    tree = {"statuses": {"loadbalancer": {"provisioning_status": whole, "listeners": [listener]}}}
    port, _ = octavia({"/loadbalancers/lb/status": tree})
    assert port.status("lb") == status
    pool |= {"health_monitor": member, "members": []}
    listener["pools"] = [pool]
    assert port.status("lb") == status


def test_create_sends_all_parts():
    port, session = octavia({"/loadbalancers": ROWS["/loadbalancers/lb"]})
    created = port.create(
        LoadBalancer("n", "amphora", "d", ("t",), (LISTENER,), subnet="s", address="10.0.0.9", zone="z")
    )
    assert created.id == "lb"
    ((method, path, body),) = session.requests
    member = {"name": "a", "address": "10.0.0.1", "protocol_port": 30080, "subnet_id": "s", "monitor_port": 32000}
    monitor = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 1, "max_retries_down": 3, "http_method": "GET"}
    monitor |= {"url_path": "/healthz", "expected_codes": "200"}
    pool = {"name": "pool", "protocol": "TCP", "lb_algorithm": "ROUND_ROBIN"}
    pool |= {"session_persistence": {"type": "SOURCE_IP"}, "members": [member], "healthmonitor": monitor}
    listener = {"name": "front", "protocol": "TCP", "protocol_port": 80, "tags": ["t"], "connection_limit": 9}
    listener |= {"allowed_cidrs": ["192.0.2.0/24"], "timeout_client_data": 7, "default_pool": pool}
    expected = {"name": "n", "provider": "amphora", "description": "d", "tags": ["t"], "vip_subnet_id": "s"}
    expected |= {"vip_address": "10.0.0.9", "availability_zone": "z", "listeners": [listener]}
    assert (method, path, body) == ("POST", "/loadbalancers", {"loadbalancer": expected})


def test_create_without_ranges_sends_no_allowed_cidrs():
    port, session = octavia({"/listeners": {"listener": {"id": "l"}}, "/listeners/l": {}})
    plain = Listener("front", "TCP", 80)
    assert port.create_listener("lb", plain) == "l"
    port.update_listener("l", plain)
    created, changed = (body["listener"] for _, _, body in session.requests)
    assert "allowed_cidrs" not in created
    assert created["loadbalancer_id"] == "lb"
    assert changed["allowed_cidrs"] == []
    assert {"protocol", "protocol_port", "default_pool"} & set(changed) == set()


def test_set_members_is_one_call():
    port, session = octavia({"/pools/p/members": {}})
    port.set_members("p", [Member(f"10.0.0.{n}", 30080) for n in range(160)])
    ((method, _, body),) = session.requests
    assert method == "PUT"
    assert len(body["members"]) == 160
    assert body["members"][0] == {"address": "10.0.0.0", "protocol_port": 30080}


def test_pools_and_monitors_are_created_and_updated():
    answers = {"/pools": {"pool": {"id": "p"}}, "/pools/p": {}, "/healthmonitors": {}, "/healthmonitors/h": {}}
    port, session = octavia(answers)
    assert port.create_pool("l", POOL) == "p"
    port.update_pool("p", Pool("pool", "TCP", "SOURCE_IP"))
    port.create_health_monitor("p", HealthMonitor("TCP", 5, 3, 1, 3))
    port.update_health_monitor("h", HealthMonitor("TCP", 6, 3, 1, 3))
    created, updated, monitor, updated_monitor = (body for _, _, body in session.requests)
    assert created["pool"]["listener_id"] == "l"
    assert "members" not in created["pool"]
    assert updated == {"pool": {"lb_algorithm": "SOURCE_IP", "session_persistence": None}}
    assert (monitor["healthmonitor"]["pool_id"], monitor["healthmonitor"]["type"]) == ("p", "TCP")
    assert "type" not in updated_monitor["healthmonitor"]
    assert updated_monitor["healthmonitor"]["delay"] == 6


def test_delete_cascades_and_ignores_missing():
    port, session = octavia({})
    port.delete("lb")
    port.delete_listener("l")
    port.delete_pool("p")
    port.delete_health_monitor("h")
    assert [path for _, path, _ in session.requests] == [
        "/loadbalancers/lb?cascade=true",
        "/listeners/l",
        "/pools/p",
        "/healthmonitors/h",
    ]


def test_lists_are_of_own_project():
    row = ROWS["/loadbalancers/lb"]["loadbalancer"]
    port, session = octavia({"/loadbalancers": {"loadbalancers": [row]}})
    assert port.named("n")[0].id == port.tagged("t")[0].id == "lb"
    queries = [query for _, _, query in session.requests]
    assert queries == [{"project_id": "project", "name": "n"}, {"project_id": "project", "tags": "t"}]


def fault(status, reported):
    return Answer(status, {"faultcode": "Client", "faultstring": reported, "debuginfo": None})


@pytest.mark.parametrize(
    ("answer", "kind", "reported"),
    [
        (fault(409, "Invalid state PENDING_UPDATE of loadbalancer resource lb"), Conflict, "PENDING_UPDATE"),
        (fault(403, "Quota has been met for resources: Load Balancer"), QuotaExceeded, "Quota has been met"),
        (fault(501, "Provider 'ovn' does not support a requested option: x"), BadInput, "Octavia refused: Provider"),
        (fault(400, "Validation failure: bad"), BadInput, "Octavia refused: Validation failure: bad"),
    ],
)
def test_octavia_errors_are_distinguished(answer, kind, reported):
    port, _ = octavia({"/loadbalancers": answer})
    with pytest.raises(kind, match=reported):
        port.create(LoadBalancer("n"))


def test_neutrons_quota_conflict_is_quota_exceeded():
    over = {
        "NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['floatingip'].", "detail": ""}
    }
    port, _ = neutron({"/floatingips": Answer(409, over)})
    with pytest.raises(QuotaExceeded, match="Quota exceeded for resources"):
        port.create_floating_ip("net", "", "port", "d")


def test_floating_ips_are_listed_created_associated_and_described():
    row = {"id": "f", "floating_ip_address": "172.24.4.9", "port_id": None, "description": "d"}
    port, session = neutron(
        {"/floatingips": {"floatingips": [row], "floatingip": row}, "/floatingips/f": {}, "/subnets": {"subnets": []}}
    )
    floating = FloatingIP("f", "172.24.4.9", "", "d")
    assert port.floating_ips() == [floating]
    assert port.create_floating_ip("net", "", "p", "d") == floating
    port.associate_floating_ip("f", "")
    port.associate_floating_ip("f", "p")
    port.set_floating_ip_description("f", "")
    bodies = [body["floatingip"] for _, _, body in session.requests if "floatingip" in (body or {})]
    created = {"floating_network_id": "net", "port_id": "p", "description": "d"}
    assert bodies == [created, {"port_id": None}, {"port_id": "p"}, {"description": ""}]
    assert all(query["project_id"] == "project" for method, _, query in session.requests if method == "GET")


def test_rules_are_listed_and_created():
    row = {"id": "r", "security_group_id": "g", "protocol": "tcp", "port_range_min": 30080, "port_range_max": 30080}
    row |= {"remote_ip_prefix": "0.0.0.0/0", "description": "d"}
    others = [row | {"port_range_max": 32767}, row | {"remote_ip_prefix": None}, row | {"port_range_min": None}]
    port, session = neutron({"/security-group-rules": {"security_group_rules": [row, *others]}})
    rule = SecurityGroupRule("g", "tcp", 30080, "0.0.0.0/0", "d", "r")
    assert port.rules("g") == [rule]
    port.create_rule(rule)
    _, _, body = session.requests[-1]
    assert body["security_group_rule"]["ethertype"] == "IPv4"
    assert body["security_group_rule"]["port_range_max"] == 30080


def test_subnets_are_sorted_by_name():
    rows = [{"id": n, "name": n, "cidr": "192.0.2.0/24", "tags": ["x"]} for n in "ba"]
    port, _ = neutron({"/subnets": {"subnets": rows}, "/subnets/b": {"subnet": rows[0]}})
    assert [subnet.id for subnet in port.subnets("net")] == ["a", "b"]
    assert port.subnet("b") == Subnet("b", "b", "192.0.2.0/24", ("x",))
    assert port.subnet("none") is None
