"""The ports of Octavia and Neutron behave the same in OpenStack and in memory.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud that the tests start; its Octavia must
have the provider `ovn`.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest

from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.openstack.load_balancers import OpenStackLoadBalancers
from moorage.cloud.openstack.network import OpenStackNetwork
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.cloud.port.network import ClusterNetwork, SecurityGroupRule, Subnet
from moorage.model.errors import BadInput, Conflict, NotFound
from moorage.model.ownership import owned_by
from waiting import until

pytestmark = [pytest.mark.contract, pytest.mark.cloud, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]


@dataclass
class Environment:
    """Both ports, and a cluster's subnet 10.78.0.0/24 with a router to the external network, and its security group."""

    cluster: str
    load_balancers: Any
    network: Any
    subnet: str
    external: str
    group: str

    def wait_until_done(self, id):
        """Returns the load balancer's status once it is not PENDING, empty once it is deleted."""
        return until(lambda: self.load_balancers.status(id), lambda status: not status.startswith("PENDING"))

    def change(self, id, call):
        """Calls until Octavia accepts: it may reject changes although the load balancer's status is ACTIVE."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return call()
            except Conflict:
                assert time.monotonic() < deadline, "still a conflict"
                self.wait_until_done(id)
                time.sleep(0.05)

    def delete(self, id):
        """Deletes it and waits. OVN's provider has a queue: an earlier task may set it to ACTIVE after the deletion."""
        self.change(id, lambda: self.load_balancers.delete(id))
        until(lambda: self.load_balancers.status(id), lambda status: status == "")


def in_memory():
    network = MemoryNetwork({"external": [Subnet("e", "e", "172.24.4.0/24")]})
    network.subnets_by_network["inner"] = [Subnet("subnet", "inner", "10.78.0.0/24")]
    network.cluster_networks["contract"] = ClusterNetwork(network.subnets_by_network["inner"][0], "group", "external")
    yield Environment(
        "contract", MemoryLoadBalancers(3, on_delete=network.disassociate_port), network, "subnet", "external", "group"
    )


def in_openstack(entry):
    rest = Rest.connect(entry)
    name = f"contract-{uuid.uuid4().hex[:8]}"
    created = []

    def create(plural, kind, **body):
        owner = {"name": name, "description": owned_by(name)}
        id = rest.post("network", f"/{plural}", {kind: owner | body})[kind]["id"]
        created.append(f"/{plural}/{id}")
        return id

    external = rest.get("network", "/networks", **{"router:external": "True"})["networks"][0]["id"]
    group = create("security-groups", "security_group", name=f"{name}-nodes")
    network = create("networks", "network")
    subnet = create("subnets", "subnet", network_id=network, ip_version=4, cidr="10.78.0.0/24")
    router = create("routers", "router", external_gateway_info={"network_id": external})
    rest.put("network", f"/routers/{router}/add_router_interface", {"subnet_id": subnet})
    try:
        yield Environment(name, OpenStackLoadBalancers(rest), OpenStackNetwork(rest), subnet, external, group)
    finally:
        rest.put("network", f"/routers/{router}/remove_router_interface", {"subnet_id": subnet})
        for path in reversed(created):
            rest.delete("network", path)


@pytest.fixture(scope="module", params=["memory", "openstack"])
def env(request):
    if request.param == "memory":
        yield from in_memory()
        return
    entry = os.environ.get("MOORAGE_TEST_CLOUD")
    with pytest.MonkeyPatch.context() as patch:
        if entry is None:
            cloud = request.getfixturevalue("cloud")
            patch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds))
        yield from in_openstack(entry or "moorage")


def members(*numbers, port=30080):
    return tuple(Member(f"10.78.0.{100 + number}", port, name=f"node-{number}") for number in numbers)


@pytest.fixture
def tag():
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def desired(env, tag):
    pool = Pool("pool-80", "TCP", "SOURCE_IP_PORT", tuple(m._replace(subnet=env.subnet) for m in members(1, 2)))
    return LoadBalancer(
        tag, "ovn", "of a test", (tag, "x"), (Listener("web", "TCP", 80, pool, (tag,)),), subnet=env.subnet
    )


@pytest.fixture
def load_balancer(env, desired):
    id = env.load_balancers.create(desired).id
    assert env.wait_until_done(id) == "ACTIVE"
    yield id
    env.delete(id)


def member_endpoints(env, id):
    (listener,) = env.load_balancers.get(id).listeners
    return {(member.address, member.port) for member in listener.pool.members}


def test_cluster_network_is_found_by_cluster_name(env):
    network = env.network.cluster_network(env.cluster)
    assert (network.subnet.id, network.subnet.cidr, network.group) == (env.subnet, "10.78.0.0/24", env.group)
    assert network.external_network == env.external
    assert env.network.cluster_network("no-such-cluster") is None
    assert "ovn" in env.load_balancers.providers()


def test_create_includes_listeners_pools_and_members(env, desired, load_balancer):
    found = env.load_balancers.get(load_balancer)
    assert (found.name, set(found.tags), found.provider) == (desired.name, set(desired.tags), "ovn")
    assert found.address.startswith("10.")
    assert found.port
    (listener,) = found.listeners
    assert (listener.protocol, listener.port, listener.tags, listener.connections) == (
        "TCP",
        80,
        desired.listeners[0].tags,
        -1,
    )
    assert (listener.pool.protocol, listener.pool.algorithm, listener.pool.monitor) == ("TCP", "SOURCE_IP_PORT", None)
    assert member_endpoints(env, load_balancer) == {("10.78.0.101", 30080), ("10.78.0.102", 30080)}


def test_load_balancer_is_found_by_name_and_by_tag(env, tag, load_balancer):
    assert [found.id for found in env.load_balancers.named(tag)] == [load_balancer]
    assert [found.id for found in env.load_balancers.tagged(tag)] == [load_balancer]
    assert env.load_balancers.named("no-such") == env.load_balancers.tagged("no-such") == []
    env.load_balancers.set_tags(load_balancer, ["y"])
    env.wait_until_done(load_balancer)
    assert env.load_balancers.tagged(tag) == []
    assert env.load_balancers.get(load_balancer).tags == ("y",)


def test_missing_load_balancer_is_none_and_deletions_succeed(env):
    missing = str(uuid.uuid4())
    assert env.load_balancers.get(missing) is None
    assert env.load_balancers.status(missing) == ""
    env.load_balancers.delete(missing)
    env.load_balancers.delete_listener(missing)
    env.load_balancers.delete_pool(missing)
    env.load_balancers.delete_health_monitor(missing)
    with pytest.raises(NotFound):
        env.load_balancers.set_members(missing, members(1))


def test_memory_pending_load_balancer_rejects_changes():
    """In memory only: OVN may finish before the next call."""
    env = next(in_memory())
    id = env.load_balancers.create(LoadBalancer("slow", "ovn", subnet=env.subnet)).id
    with pytest.raises(Conflict):
        env.load_balancers.create_listener(id, Listener("more", "TCP", 81))
    assert env.wait_until_done(id) == "ACTIVE"
    env.load_balancers.create_listener(id, Listener("more", "TCP", 81))


def test_set_members_replaces_all_members(env, load_balancer):
    pool = env.load_balancers.get(load_balancer).listeners[0].pool.id
    desired = [m._replace(subnet=env.subnet) for m in members(2, 3, 4)]
    env.change(load_balancer, lambda: env.load_balancers.set_members(pool, desired))
    until(
        lambda: member_endpoints(env, load_balancer),
        lambda found: found == {(f"10.78.0.{n}", 30080) for n in (102, 103, 104)},
    )
    assert env.wait_until_done(load_balancer) == "ACTIVE"


def test_listener_pool_and_monitor_are_created_updated_and_deleted(env, load_balancer):
    octavia, monitor = env.load_balancers, HealthMonitor("UDP-CONNECT", 7, 3, 2, 3)

    def find_listener():
        return next((listener for listener in octavia.get(load_balancer).listeners if listener.port == 53), None)

    listener = env.change(
        load_balancer, lambda: octavia.create_listener(load_balancer, Listener("dns", "UDP", 53, tags=("first",)))
    )
    pool = env.change(load_balancer, lambda: octavia.create_pool(listener, Pool("pool-53", "UDP", "SOURCE_IP_PORT")))
    env.change(
        load_balancer,
        lambda: octavia.set_members(pool, [m._replace(subnet=env.subnet) for m in members(1, port=30053)]),
    )
    env.change(load_balancer, lambda: octavia.create_health_monitor(pool, monitor))
    found = until(find_listener, lambda found: found.pool.monitor is not None)
    assert (found.id, found.tags, found.pool.id) == (listener, ("first",), pool)
    assert replace(found.pool.monitor, id="") == monitor
    env.change(load_balancer, lambda: octavia.update_health_monitor(found.pool.monitor.id, replace(monitor, delay=9)))
    env.change(load_balancer, lambda: octavia.update_listener(listener, replace(found, tags=("first", "second"))))
    changed = until(find_listener, lambda found: found.pool.monitor.delay == 9 and len(found.tags) == 2)
    assert set(changed.tags) == {"first", "second"}
    env.change(load_balancer, lambda: octavia.delete_health_monitor(changed.pool.monitor.id))
    env.change(load_balancer, lambda: octavia.delete_pool(pool))
    until(find_listener, lambda found: found.pool is None)
    env.change(load_balancer, lambda: octavia.delete_listener(listener))
    until(find_listener, lambda found: found is None)
    assert [listener.port for listener in octavia.get(load_balancer).listeners] == [80]


def test_second_listener_on_same_port_conflicts(env, load_balancer):
    with pytest.raises(Conflict):
        env.load_balancers.create_listener(load_balancer, Listener("again", "TCP", 80))


@pytest.mark.parametrize("allowed_cidrs", [("192.0.2.0/24",), ()], ids=["ranges", "algorithm"])
def test_option_unsupported_by_provider_is_rejected(env, load_balancer, allowed_cidrs):
    if allowed_cidrs:
        with pytest.raises(BadInput):
            env.load_balancers.create_listener(load_balancer, Listener("more", "TCP", 81, allowed_cidrs=allowed_cidrs))
    else:
        pool = env.load_balancers.get(load_balancer).listeners[0].pool
        with pytest.raises(BadInput):
            env.load_balancers.update_pool(pool.id, replace(pool, algorithm="LEAST_CONNECTIONS"))
    assert env.wait_until_done(load_balancer) == "ACTIVE"


def test_second_load_balancer_with_same_address_conflicts(env, desired, load_balancer):
    taken = env.load_balancers.get(load_balancer).address
    with pytest.raises(Conflict):
        env.load_balancers.create(replace(desired, name="second", tags=(), address=taken))
    assert env.load_balancers.named("second") == []


def test_floating_ip_outlives_its_load_balancer(env, tag, desired):
    found = env.load_balancers.create(desired)
    env.wait_until_done(found.id)
    floating_ip = env.network.create_floating_ip(env.external, "", found.port, tag)
    try:
        assert (floating_ip.port, floating_ip.description) == (found.port, tag)
        assert floating_ip in env.network.floating_ips()
        with pytest.raises(Conflict):
            env.network.create_floating_ip(env.external, "", found.port, tag)
        env.delete(found.id)
        assert replace(floating_ip, port="") in env.network.floating_ips()
        env.network.set_floating_ip_description(floating_ip.id, "")
        assert replace(floating_ip, port="", description="") in env.network.floating_ips()
    finally:
        env.network.delete_floating_ip(floating_ip.id)
    env.network.delete_floating_ip(floating_ip.id)
    assert floating_ip.id not in {found.id for found in env.network.floating_ips()}


def test_rule_is_created_once_and_deleted(env, tag):
    rule = SecurityGroupRule(env.group, "sctp", 30099, "192.0.2.0/24", tag)
    env.network.create_rule(rule)
    (created,) = [found for found in env.network.rules(env.group) if found.description == tag]
    assert replace(created, id="") == rule
    with pytest.raises(Conflict):
        env.network.create_rule(rule)
    env.network.delete_rule(created.id)
    env.network.delete_rule(created.id)
    assert [found for found in env.network.rules(env.group) if found.description == tag] == []


def test_subnets_are_found_by_id_and_network(env):
    assert env.network.subnet(env.subnet).cidr == "10.78.0.0/24"
    assert env.network.subnet(str(uuid.uuid4())) is None
    assert env.network.subnets(env.external)
