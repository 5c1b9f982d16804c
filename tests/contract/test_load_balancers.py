"""The ports of load balancers and of what stands before them: Octavia and Neutron, and both in memory, behave the same.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud of the tests' own; its Octavia must
have the provider `ovn`.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest

from moorage.cloud.load_balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from moorage.cloud.memory_load_balancers import MemoryLoadBalancers
from moorage.cloud.memory_network import MemoryNetwork
from moorage.cloud.network import ClusterNetwork, SecurityGroupRule, Subnet
from moorage.cloud.openstack_load_balancers import OpenStackLoadBalancers
from moorage.cloud.openstack_network import OpenStackNetwork
from moorage.cloud.rest import Rest
from moorage.model.errors import BadInput, Conflict, NotFound
from moorage.model.ownership import owned_by
from waiting import until

pytestmark = [pytest.mark.contract, pytest.mark.cloud, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]


@dataclass
class Place:
    """Both ports, and of a cluster: a subnet 10.78.0.0/24 behind a router to the outside, and its nodes' group."""

    cluster: str
    load_balancers: Any
    network: Any
    subnet: str
    external: str
    group: str

    def settled(self, id):
        """Its status once Octavia is done with it, empty when it is gone."""
        return until(lambda: self.load_balancers.status(id), lambda status: not status.startswith("PENDING"))

    def change(self, id, call):
        """Octavia may call a load balancer ACTIVE, and refuse to change what is still to be made of it."""
        ends = time.monotonic() + 60
        while True:
            try:
                return call()
            except Conflict:
                assert time.monotonic() < ends, "it stays busy"
                self.settled(id)
                time.sleep(0.05)

    def gone(self, id):
        """Delete it. OVN works off a queue, and what it did before the deletion may call it ACTIVE once more."""
        self.change(id, lambda: self.load_balancers.delete(id))
        until(lambda: self.load_balancers.status(id), lambda status: status == "")


def in_memory():
    network = MemoryNetwork({"external": [Subnet("e", "e", "172.24.4.0/24")]})
    network.known["inner"] = [Subnet("subnet", "inner", "10.78.0.0/24")]
    network.cluster_networks["contract"] = ClusterNetwork(network.known["inner"][0], "group", "external")
    yield Place("contract", MemoryLoadBalancers(3, gone=network.unmap), network, "subnet", "external", "group")


def in_openstack(entry):
    rest = Rest.connect(entry)
    name = f"contract-{uuid.uuid4().hex[:8]}"
    made = []

    def make(plural, kind, **body):
        whose = {"name": name, "description": owned_by(name)}
        found = rest.post("network", f"/{plural}", {kind: whose | body})[kind]
        made.append(f"/{plural}/{found['id']}")
        return found["id"]

    external = rest.get("network", "/networks", **{"router:external": "True"})["networks"][0]["id"]
    group = make("security-groups", "security_group", name=f"{name}-nodes")
    network = make("networks", "network")
    subnet = make("subnets", "subnet", network_id=network, ip_version=4, cidr="10.78.0.0/24")
    router = make("routers", "router", external_gateway_info={"network_id": external})
    rest.put("network", f"/routers/{router}/add_router_interface", {"subnet_id": subnet})
    try:
        yield Place(name, OpenStackLoadBalancers(rest), OpenStackNetwork(rest), subnet, external, group)
    finally:
        rest.put("network", f"/routers/{router}/remove_router_interface", {"subnet_id": subnet})
        for path in reversed(made):
            rest.delete("network", path)


@pytest.fixture(scope="module", params=["memory", "openstack"])
def place(request):
    if request.param == "memory":
        yield from in_memory()
        return
    entry = os.environ.get("MOORAGE_TEST_CLOUD")
    with pytest.MonkeyPatch.context() as patch:
        if entry is None:
            home = request.getfixturevalue("cloud")
            patch.setenv("OS_CLIENT_CONFIG_FILE", str(home.clouds))
        yield from in_openstack(entry or "moorage")


def members(*numbers, port=30080):
    return tuple(Member(f"10.78.0.{100 + number}", port, name=f"node-{number}") for number in numbers)


@pytest.fixture
def tag():
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def wanted(place, tag):
    pool = Pool("pool-80", "TCP", "SOURCE_IP_PORT", tuple(m._replace(subnet=place.subnet) for m in members(1, 2)))
    return LoadBalancer(
        tag, "ovn", "of a test", (tag, "x"), (Listener("web", "TCP", 80, pool, (tag,)),), subnet=place.subnet
    )


@pytest.fixture
def load_balancer(place, wanted):
    id = place.load_balancers.create(wanted).id
    assert place.settled(id) == "ACTIVE"
    yield id
    place.gone(id)


def traffic(place, id):
    (held,) = place.load_balancers.tree(id).listeners
    return {(member.address, member.port) for member in held.pool.members}


def test_cluster_network_is_that_of_its_nodes(place):
    home = place.network.cluster_network(place.cluster)
    assert (home.subnet.id, home.subnet.cidr, home.group) == (place.subnet, "10.78.0.0/24", place.group)
    assert home.external_network == place.external
    assert place.network.cluster_network("nobody") is None
    assert "ovn" in place.load_balancers.providers()


def test_create_with_all_parts_in_one_call(place, wanted, load_balancer):
    found = place.load_balancers.tree(load_balancer)
    assert (found.name, set(found.tags), found.provider) == (wanted.name, set(wanted.tags), "ovn")
    assert found.address.startswith("10.")
    assert found.port
    (held,) = found.listeners
    assert (held.protocol, held.port, held.tags, held.connections) == ("TCP", 80, wanted.listeners[0].tags, -1)
    assert (held.pool.protocol, held.pool.algorithm, held.pool.monitor) == ("TCP", "SOURCE_IP_PORT", None)
    assert traffic(place, load_balancer) == {("10.78.0.101", 30080), ("10.78.0.102", 30080)}


def test_load_balancer_is_found_by_name_and_tag(place, tag, load_balancer):
    assert [found.id for found in place.load_balancers.named(tag)] == [load_balancer]
    assert [found.id for found in place.load_balancers.tagged(tag)] == [load_balancer]
    assert place.load_balancers.named("no-such") == place.load_balancers.tagged("no-such") == []
    place.load_balancers.set_tags(load_balancer, ["y"])
    place.settled(load_balancer)
    assert place.load_balancers.tagged(tag) == []
    assert place.load_balancers.tree(load_balancer).tags == ("y",)


def test_delete_missing_objects_does_nothing(place, wanted):
    nobody = str(uuid.uuid4())
    assert place.load_balancers.tree(nobody) is None
    assert place.load_balancers.status(nobody) == ""
    place.load_balancers.delete(nobody)
    place.load_balancers.delete_listener(nobody)
    place.load_balancers.delete_pool(nobody)
    place.load_balancers.delete_health_monitor(nobody)
    with pytest.raises(NotFound):
        place.load_balancers.set_members(nobody, members(1))


def test_memory_change_while_pending_conflicts():
    """OVN may be done before we ask: only in memory it is sure to be PENDING."""
    place = next(in_memory())
    id = place.load_balancers.create(LoadBalancer("slow", "ovn", subnet=place.subnet)).id
    with pytest.raises(Conflict):
        place.load_balancers.create_listener(id, Listener("more", "TCP", 81))
    assert place.settled(id) == "ACTIVE"
    place.load_balancers.create_listener(id, Listener("more", "TCP", 81))


def test_set_members_replaces_all(place, load_balancer):
    pool = place.load_balancers.tree(load_balancer).listeners[0].pool.id
    wanted = [m._replace(subnet=place.subnet) for m in members(2, 3, 4)]
    place.change(load_balancer, lambda: place.load_balancers.set_members(pool, wanted))
    until(
        lambda: traffic(place, load_balancer), lambda found: found == {(f"10.78.0.{n}", 30080) for n in (102, 103, 104)}
    )
    assert place.settled(load_balancer) == "ACTIVE"


def test_create_and_delete_listener_pool_and_monitor(place, load_balancer):
    do, watched = place.load_balancers, HealthMonitor("UDP-CONNECT", 7, 3, 2, 3)

    def held():
        return next((held for held in do.tree(load_balancer).listeners if held.port == 53), None)

    listener = place.change(
        load_balancer, lambda: do.create_listener(load_balancer, Listener("dns", "UDP", 53, tags=("mine",)))
    )
    pool = place.change(load_balancer, lambda: do.create_pool(listener, Pool("pool-53", "UDP", "SOURCE_IP_PORT")))
    place.change(
        load_balancer, lambda: do.set_members(pool, [m._replace(subnet=place.subnet) for m in members(1, port=30053)])
    )
    place.change(load_balancer, lambda: do.create_health_monitor(pool, watched))
    found = until(held, lambda found: found.pool.monitor is not None)
    assert (found.id, found.tags, found.pool.id) == (listener, ("mine",), pool)
    assert replace(found.pool.monitor, id="") == watched
    place.change(load_balancer, lambda: do.update_health_monitor(found.pool.monitor.id, replace(watched, delay=9)))
    place.change(load_balancer, lambda: do.update_listener(listener, replace(found, tags=("mine", "more"))))
    changed = until(held, lambda found: found.pool.monitor.delay == 9 and len(found.tags) == 2)
    assert set(changed.tags) == {"mine", "more"}
    place.change(load_balancer, lambda: do.delete_health_monitor(changed.pool.monitor.id))
    place.change(load_balancer, lambda: do.delete_pool(pool))
    until(held, lambda found: found.pool is None)
    place.change(load_balancer, lambda: do.delete_listener(listener))
    until(held, lambda found: found is None)
    assert [kept.port for kept in do.tree(load_balancer).listeners] == [80]


def test_create_listener_on_used_port_conflicts(place, load_balancer):
    with pytest.raises(Conflict):
        place.load_balancers.create_listener(load_balancer, Listener("again", "TCP", 80))


@pytest.mark.parametrize("allowed_cidrs", [("192.0.2.0/24",), ()], ids=["ranges", "algorithm"])
def test_unsupported_by_provider_is_rejected(place, load_balancer, allowed_cidrs):
    if allowed_cidrs:
        with pytest.raises(BadInput):
            place.load_balancers.create_listener(
                load_balancer, Listener("more", "TCP", 81, allowed_cidrs=allowed_cidrs)
            )
    else:
        pool = place.load_balancers.tree(load_balancer).listeners[0].pool
        with pytest.raises(BadInput):
            place.load_balancers.update_pool(pool.id, replace(pool, algorithm="LEAST_CONNECTIONS"))
    assert place.settled(load_balancer) == "ACTIVE"


def test_create_with_used_address_conflicts(place, wanted, load_balancer):
    taken = place.load_balancers.tree(load_balancer).address
    with pytest.raises(Conflict):
        place.load_balancers.create(replace(wanted, name="second", tags=(), address=taken))
    assert place.load_balancers.named("second") == []


def test_floating_ip_survives_its_port(place, tag, wanted):
    found = place.load_balancers.create(wanted)
    place.settled(found.id)
    made = place.network.create_floating_ip(place.external, "", found.port, tag)
    try:
        assert (made.port, made.description) == (found.port, tag)
        assert made in place.network.floating_ips()
        with pytest.raises(Conflict):
            place.network.create_floating_ip(place.external, "", found.port, tag)
        place.gone(found.id)
        assert replace(made, port="") in place.network.floating_ips()
        place.network.set_floating_ip_description(made.id, "")
        assert replace(made, port="", description="") in place.network.floating_ips()
    finally:
        place.network.delete_floating_ip(made.id)
    place.network.delete_floating_ip(made.id)
    assert made.id not in {held.id for held in place.network.floating_ips()}


def test_create_rule_twice_conflicts_and_delete_rule(place, tag):
    rule = SecurityGroupRule(place.group, "sctp", 30099, "192.0.2.0/24", tag)
    place.network.create_rule(rule)
    (found,) = [held for held in place.network.rules(place.group) if held.description == tag]
    assert replace(found, id="") == rule
    with pytest.raises(Conflict):
        place.network.create_rule(rule)
    place.network.delete_rule(found.id)
    place.network.delete_rule(found.id)
    assert [held for held in place.network.rules(place.group) if held.description == tag] == []


def test_subnets_are_listed(place):
    assert place.network.subnet(place.subnet).cidr == "10.78.0.0/24"
    assert place.network.subnet(str(uuid.uuid4())) is None
    assert place.network.subnets(place.external)
