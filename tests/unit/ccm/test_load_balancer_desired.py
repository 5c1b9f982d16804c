"""The desired load balancer of a Service, Services that are rejected, and plans without superfluous steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from load_balancing import node, service
from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.desired import build_desired, choose_floating_subnet
from moorage.ccm.load_balancers.execute import CreateListener, CreateLoadBalancer, SetMembers
from moorage.ccm.load_balancers.names import ServiceRef, described_service_key, is_listener_of, was_created_for
from moorage.ccm.load_balancers.plan import Observed, plan, plan_removal
from moorage.ccm.load_balancers.settings import AMPHORA, OVN, Settings
from moorage.ccm.load_balancers.views import Node, Port, Service, nodes_with_endpoints, parse_node, parse_service
from moorage.cloud.port.load_balancers import Listener, LoadBalancer
from moorage.cloud.port.network import FloatingIP, Subnet
from moorage.model.errors import BadInput
from moorage.model.ownership import cluster_tag, service_named

pytestmark = pytest.mark.unit

NODES = [Node("a", "10.0.0.11"), Node("b", "10.0.0.12")]
WEB = Service("default", "web", ports=(Port("TCP", 80, 30080),))
NO_OPTIONS = ServiceOptions()
SETTINGS = Settings("demo", "subnet", "10.0.0.0/24", "group", "public")


def desire(service=WEB, options=NO_OPTIONS, provider=OVN, nodes=NODES, endpoint_nodes=(), **settings):
    return build_desired(service, nodes, endpoint_nodes, options, replace(SETTINGS, provider=provider, **settings))


def observed_after(desired):
    """The state of the cloud after the execution of all steps."""
    listeners = tuple(
        replace(listener, id=f"l{n}", pool=replace(listener.pool, id=f"p{n}"))
        for n, listener in enumerate(desired.load_balancer.listeners)
    )
    load_balancer = replace(
        desired.load_balancer, listeners=listeners, id="lb", port="port", provisioning_status="ACTIVE"
    )
    floating_ip = FloatingIP("f", "172.24.4.9", "port", desired.service_ref.description)
    return Observed(load_balancer, floating_ip, (floating_ip,), rules=desired.rules)


@pytest.mark.parametrize("families", [("IPv4", "IPv6"), ("IPv6",), ("IPv6", "IPv4")])
def test_desired_with_other_families_than_ipv4_raises(families):
    with pytest.raises(BadInput, match="IPv4 only") as error:
        desire(replace(WEB, families=families))
    assert "SingleStack" in error.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ports": (Port("TCP", 80, 0),)}, "port 80 has no node port"),
        ({"ports": (Port("DCCP", 80, 30080),)}, "no load balancer can forward DCCP"),
        ({"source_ranges": ("10.0.0.0/33",)}, "loadBalancerSourceRanges"),
        ({"source_ranges": ("2001:db8::/32",)}, "IPv6 ranges"),
        ({"address": "here"}, "no IP address"),
    ],
)
def test_desired_from_invalid_service_raises(change, message):
    with pytest.raises(BadInput, match=message):
        desire(replace(WEB, **change))


@pytest.mark.parametrize(
    ("internal", "ranges", "provider", "sources"),
    [
        (False, (), OVN, ["0.0.0.0/0"]),
        (True, (), OVN, ["10.0.0.0/24"]),
        (True, ("192.168.0.0/16",), OVN, ["192.168.0.0/16"]),
        (True, ("0.0.0.0/0",), OVN, ["0.0.0.0/0"]),
        (True, (), AMPHORA, ["10.0.0.0/24"]),
        (False, (), AMPHORA, ["10.0.0.0/24"]),
    ],
)
def test_node_port_is_open_to_the_clients_only(internal, ranges, provider, sources):
    options = ServiceOptions(internal=internal)
    desired = desire(replace(WEB, source_ranges=ranges), options, provider=provider)
    assert [rule.cidr for rule in desired.rules] == sources


def test_desired_without_external_network_needs_internal_service():
    with pytest.raises(BadInput, match="no external network"):
        desire(floating_network="")
    assert desire(options=ServiceOptions(internal=True), floating_network="").floating_ip is None


def test_desired_sctp_monitor_needs_amphora():
    sctp = replace(WEB, ports=(Port("SCTP", 99, 30099),))
    with pytest.raises(BadInput, match="cannot monitor members of the SCTP port 99"):
        desire(sctp, ServiceOptions(monitor=True))
    assert desire(sctp, ServiceOptions(monitor=True), AMPHORA).load_balancer.listeners[0].pool.monitor.type == "SCTP"
    assert desire(sctp).load_balancer.listeners[0].pool.monitor is None


def test_desired_monitor_timeout_above_delay_raises():
    with pytest.raises(BadInput, match="a delay of 5 s cannot have a timeout of 9 s"):
        desire(options=ServiceOptions(monitor=True, monitor_timeout=9))


def test_desired_rules_admit_monitors_from_nodes_subnet():
    desired = desire(replace(WEB, source_ranges=("192.0.2.0/24",)), ServiceOptions(monitor=True))
    assert {rule.cidr for rule in desired.rules} == {"10.0.0.0/24", "192.0.2.0/24"}


def test_desired_range_of_all_addresses_is_no_range():
    assert desire(replace(WEB, source_ranges=("0.0.0.0/0", "192.0.2.0/24"))) == desire()


@pytest.mark.parametrize(
    ("status_addresses", "address"),
    [(("10.0.0.7",), "10.0.0.7"), (("172.24.4.9",), ""), ((), "")],
    ids=["internal", "floating", "none"],
)
def test_desired_internal_load_balancer_keeps_address_in_status(status_addresses, address):
    service = replace(WEB, status_addresses=status_addresses)
    assert desire(service, ServiceOptions(internal=True)).load_balancer.address == address


def test_desired_load_balancer_has_requested_network():
    load_balancer = desire(options=ServiceOptions(subnet="s", network="n", flavor="f", zone="z")).load_balancer
    assert (load_balancer.subnet, load_balancer.network, load_balancer.flavor, load_balancer.zone) == (
        "s",
        "n",
        "f",
        "z",
    )
    assert desire(options=ServiceOptions(port="p")).load_balancer.port == "p"
    assert desire().load_balancer.subnet == "subnet"


def test_desired_members_have_requested_subnet():
    assert desire(options=ServiceOptions(member_subnet="m")).load_balancer.listeners[0].pool.members[0].subnet == "m"


@pytest.mark.parametrize(
    ("options", "id"),
    [
        (ServiceOptions(), ""),
        (ServiceOptions(floating_subnet_id="x", floating_subnet="b"), "x"),
        (ServiceOptions(floating_subnet="b"), "2"),
        (ServiceOptions(floating_subnet_tags=("gold", "tin")), "2"),
        (ServiceOptions(floating_subnet="a", floating_subnet_tags=("silver",)), "1"),
    ],
)
def test_choose_floating_subnet_by_id_name_and_tags(options, id):
    subnets = [Subnet("1", "a", "192.0.2.0/25", ("silver",)), Subnet("2", "b", "192.0.2.128/25", ("gold",))]
    assert choose_floating_subnet(subnets, options) == id


def test_choose_floating_subnet_missing_raises():
    with pytest.raises(BadInput, match="no subnet with that name and tags: c, any tags"):
        choose_floating_subnet([], ServiceOptions(floating_subnet="c"))


def test_plan_up_to_date_load_balancer_has_no_steps():
    desired = desire(options=ServiceOptions(monitor=True))
    assert plan(desired, observed_after(desired)) == []


def test_plan_ignores_names_and_order_of_members():
    desired = desire()
    observed = observed_after(desired)
    (listener,) = observed.load_balancer.listeners
    pool = replace(listener.pool, name="x", members=listener.pool.members[::-1])
    load_balancer = replace(observed.load_balancer, listeners=(replace(listener, name="y", pool=pool),))
    assert plan(desired, replace(observed, load_balancer=load_balancer)) == []


def test_plan_creation_is_one_call_without_unsupported_monitors():
    for provider, monitored in ((OVN, False), (AMPHORA, True)):
        desired = desire(options=ServiceOptions(monitor=True), provider=provider)
        (step, *_) = plan(desired, Observed(rules=desired.rules))
        assert isinstance(step, CreateLoadBalancer)
        (listener,) = step.desired.listeners
        assert len(listener.pool.members) == 2
        assert (listener.pool.monitor is not None) == monitored


def test_plan_one_changed_member_of_160_is_one_step():
    nodes = [Node(f"n{n:03}", f"10.0.0.{n}") for n in range(1, 161)]
    observed = observed_after(desire(nodes=nodes))
    nodes[80] = Node("new", "10.0.0.200")
    (step,) = plan(desire(nodes=nodes), observed)
    assert isinstance(step, SetMembers)
    assert len(step.members) == 160


def test_plan_port_changed_to_http_recreates_listener():
    plain, http = desire(provider=AMPHORA), desire(options=ServiceOptions(forwarded_for=True), provider=AMPHORA)
    step_names = [type(step).__name__ for step in plan(http, observed_after(plain))]
    assert step_names == ["DeleteListener", "CreateListener"]


def test_plan_listener_without_pool_creates_pool():
    desired = desire()
    observed = observed_after(desired)
    without_pool = replace(observed.load_balancer, listeners=(replace(observed.load_balancer.listeners[0], pool=None),))
    assert [type(step).__name__ for step in plan(desired, replace(observed, load_balancer=without_pool))] == [
        "CreatePool"
    ]


def test_plan_new_port_creates_rule_before_listener():
    two_ports = replace(WEB, ports=(*WEB.ports, Port("UDP", 53, 30053)))
    steps = plan(desire(two_ports), observed_after(desire()))
    assert [type(step).__name__ for step in steps] == ["CreateRule", "CreateListener"]
    assert isinstance(steps[1], CreateListener)


def test_plan_removal_without_resources_is_empty():
    assert plan_removal(ServiceRef("demo", "default", "web"), Observed(), keep_floating_ip=False) == []


def test_tags_of_cluster_with_same_prefix_are_foreign():
    service_ref = ServiceRef("demo_2", "ns", "web")
    assert service_named(service_ref.tag, "demo") is None
    assert service_named(service_ref.tag, "demo_2") == "ns/web"
    assert not was_created_for(LoadBalancer(service_ref.tag, tags=service_ref.owned_tags()), "demo")
    assert described_service_key(service_ref.description, "demo") is None
    assert described_service_key(service_ref.description, "demo_2") == "ns/web"


def test_long_names_and_tags_are_cut_to_octavias_limit():
    long = ServiceRef("c" * 60, "n" * 63, "s" * 253)
    assert len(long.tag) == 255
    assert len(long.resource_name("listener", "TCP", 80)) == 255
    assert len(cluster_tag("c" * 300)) == 255


def test_is_listener_of_untagged_listener_depends_on_load_balancer_name():
    service_ref = ServiceRef("demo", "default", "web")
    untagged = Listener("l", "TCP", 80)
    assert is_listener_of(untagged, LoadBalancer(service_ref.tag), service_ref)
    assert not is_listener_of(untagged, LoadBalancer("of-a-user"), service_ref)
    assert not is_listener_of(
        replace(untagged, tags=("kube_service_demo_default_other",)), LoadBalancer(service_ref.tag), service_ref
    )


def test_parse_service_and_node():
    found = service(sessionAffinity="ClientIP", externalTrafficPolicy="Local", healthCheckNodePort=32000)
    found["metadata"]["annotations"] = {"service.beta.kubernetes.io/load-balancer-source-ranges": "192.0.2.0/24, "}
    view = parse_service(found)
    assert (view.sticky, view.local, view.health_port, view.source_ranges) == (True, True, 32000, ("192.0.2.0/24",))
    assert view.needs_load_balancer
    assert parse_node(node(1)) == Node("node-001", "10.0.0.11")
    assert parse_node({"metadata": {"name": "new"}}) is None


def test_nodes_with_endpoints_without_conditions_are_ready():
    endpoints = [{"nodeName": "a"}, {"nodeName": "b", "conditions": {"ready": False}}, {"conditions": {}}]
    assert nodes_with_endpoints([{"endpoints": endpoints}, {"endpoints": None}]) == {"a"}
