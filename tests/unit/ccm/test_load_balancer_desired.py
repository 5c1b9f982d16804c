"""What a Service wants of the cloud, and what of it cannot be had; the plan is as short as it can be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from load_balancing import node, service
from moorage.ccm.load_balancers.annotations import ServiceOptions
from moorage.ccm.load_balancers.desired import choose_subnet, desire
from moorage.ccm.load_balancers.names import ServiceRef, is_listener_of, made_for, service_of
from moorage.ccm.load_balancers.plan import Observed, plan, plan_removal
from moorage.ccm.load_balancers.settings import AMPHORA, OVN, Settings
from moorage.ccm.load_balancers.steps import CreateListener, CreateLoadBalancer, SetMembers
from moorage.ccm.load_balancers.views import Node, Port, Service, node_of, serving_nodes
from moorage.ccm.load_balancers.views import service_of as view_of
from moorage.cloud.load_balancers import Listener, LoadBalancer
from moorage.cloud.network import FloatingIP, Subnet
from moorage.model.errors import BadInput
from moorage.model.ownership import cluster_tag, service_named

pytestmark = pytest.mark.unit

NODES = [Node("a", "10.0.0.11"), Node("b", "10.0.0.12")]
WEB = Service("default", "web", ports=(Port("TCP", 80, 30080),))
NOTHING = ServiceOptions()
SETTINGS = Settings("demo", "subnet", "10.0.0.0/24", "group", "public")


def wanted(service=WEB, options=NOTHING, provider=OVN, nodes=NODES, serving=(), **settings):
    return desire(service, nodes, serving, options, replace(SETTINGS, provider=provider, **settings))


def there(desired, **words):
    """The cloud after everything was done."""
    listeners = tuple(
        replace(held, id=f"l{n}", pool=replace(held.pool, id=f"p{n}"))
        for n, held in enumerate(desired.load_balancer.listeners)
    )
    load_balancer = replace(
        desired.load_balancer, listeners=listeners, id="lb", port="port", provisioning_status="ACTIVE", **words
    )
    floating = FloatingIP("f", "172.24.4.9", "port", desired.service_ref.description)
    return Observed(load_balancer, floating, (floating,), rules=desired.rules)


@pytest.mark.parametrize("families", [("IPv4", "IPv6"), ("IPv6",), ("IPv6", "IPv4")])
def test_desire_ipv6_is_rejected(families):
    with pytest.raises(BadInput, match="IPv4 only") as refused:
        wanted(replace(WEB, families=families))
    assert "SingleStack" in refused.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ports": (Port("TCP", 80, 0),)}, "port 80 has no node port"),
        ({"ports": (Port("DCCP", 80, 30080),)}, "no load balancer can forward DCCP"),
        ({"ranges": ("10.0.0.0/33",)}, "loadBalancerSourceRanges"),
        ({"ranges": ("2001:db8::/32",)}, "IPv6 ranges"),
        ({"address": "here"}, "not an IP address"),
    ],
)
def test_desire_impossible_spec_is_rejected(change, said):
    with pytest.raises(BadInput, match=said):
        wanted(replace(WEB, **change))


def test_desire_without_external_network_needs_internal():
    with pytest.raises(BadInput, match="no external network"):
        wanted(floating_network="")
    assert wanted(options=ServiceOptions(internal=True), floating_network="").floating_ip is None


def test_desire_sctp_monitor_needs_amphora():
    sctp = replace(WEB, ports=(Port("SCTP", 99, 30099),))
    with pytest.raises(BadInput, match="cannot monitor members of the SCTP port 99"):
        wanted(sctp, ServiceOptions(monitor=True))
    assert wanted(sctp, ServiceOptions(monitor=True), AMPHORA).load_balancer.listeners[0].pool.monitor.type == "SCTP"
    assert wanted(sctp).load_balancer.listeners[0].pool.monitor is None


def test_desire_monitor_timeout_above_delay_is_rejected():
    with pytest.raises(BadInput, match="wait 9 s for a response when it runs every 5 s"):
        wanted(options=ServiceOptions(monitor=True, monitor_timeout=9))


def test_desire_monitor_opens_nodes_subnet():
    desired = wanted(replace(WEB, ranges=("192.0.2.0/24",)), ServiceOptions(monitor=True))
    assert {rule.cidr for rule in desired.rules} == {"10.0.0.0/24", "192.0.2.0/24"}


def test_desire_source_range_of_everything_is_none():
    assert wanted(replace(WEB, ranges=("0.0.0.0/0", "192.0.2.0/24"))) == wanted()


@pytest.mark.parametrize(
    ("shown", "address"),
    [(("10.0.0.7",), "10.0.0.7"), (("172.24.4.9",), ""), ((), "")],
    ids=["own", "floating", "none"],
)
def test_desire_internal_keeps_shown_address(shown, address):
    assert wanted(replace(WEB, shown=shown), ServiceOptions(internal=True)).load_balancer.address == address


def test_desire_network_subnet_and_port_options():
    found = wanted(options=ServiceOptions(subnet="s", network="n", flavor="f", zone="z")).load_balancer
    assert (found.subnet, found.network, found.flavor, found.zone) == ("s", "n", "f", "z")
    assert wanted(options=ServiceOptions(port="p")).load_balancer.port == "p"
    assert wanted().load_balancer.subnet == "subnet"


def test_desire_member_subnet_option():
    assert wanted(options=ServiceOptions(member_subnet="m")).load_balancer.listeners[0].pool.members[0].subnet == "m"


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
def test_choose_subnet_by_name_and_tags(options, id):
    subnets = [Subnet("1", "a", "192.0.2.0/25", ("silver",)), Subnet("2", "b", "192.0.2.128/25", ("gold",))]
    assert choose_subnet(subnets, options) == id


def test_choose_subnet_without_match_is_rejected():
    with pytest.raises(BadInput, match="no subnet with that name and tags: c, any tags"):
        choose_subnet([], ServiceOptions(floating_subnet="c"))


def test_plan_without_difference_is_empty():
    desired = wanted(options=ServiceOptions(monitor=True))
    assert plan(desired, there(desired)) == []


def test_plan_ignores_names_and_member_order():
    desired = wanted()
    observed = there(desired)
    (held,) = observed.load_balancer.listeners
    turned = replace(held.pool, name="x", members=held.pool.members[::-1])
    load_balancer = replace(observed.load_balancer, listeners=(replace(held, name="y", pool=turned),))
    assert plan(desired, replace(observed, load_balancer=load_balancer)) == []


def test_plan_creates_all_parts_except_unsupported_monitors():
    for provider, monitored in ((OVN, False), (AMPHORA, True)):
        desired = wanted(options=ServiceOptions(monitor=True), provider=provider)
        (made, *_) = plan(desired, Observed(rules=desired.rules))
        assert isinstance(made, CreateLoadBalancer)
        (held,) = made.wanted.listeners
        assert len(held.pool.members) == 2
        assert (held.pool.monitor is not None) == monitored


def test_plan_one_changed_member_is_one_step():
    nodes = [Node(f"n{n:03}", f"10.0.0.{n}") for n in range(1, 161)]
    observed = there(wanted(nodes=nodes))
    nodes[80] = Node("new", "10.0.0.200")
    (step,) = plan(wanted(nodes=nodes), observed)
    assert isinstance(step, SetMembers)
    assert len(step.members) == 160


def test_plan_tcp_to_http_replaces_listener():
    plain, http = wanted(provider=AMPHORA), wanted(options=ServiceOptions(forwarded_for=True), provider=AMPHORA)
    kinds = [type(step).__name__ for step in plan(http, there(plain))]
    assert kinds == ["DeleteListener", "CreateListener"]


def test_plan_listener_without_pool_creates_pool():
    desired = wanted()
    observed = there(desired)
    bare = replace(observed.load_balancer, listeners=(replace(observed.load_balancer.listeners[0], pool=None),))
    assert [type(step).__name__ for step in plan(desired, replace(observed, load_balancer=bare))] == ["CreatePool"]


def test_plan_opens_ports_before_listeners():
    two = replace(WEB, ports=(*WEB.ports, Port("UDP", 53, 30053)))
    steps = plan(wanted(two), there(wanted()))
    assert [type(step).__name__ for step in steps] == ["CreateRule", "CreateListener"]
    assert isinstance(steps[1], CreateListener)


def test_plan_removal_without_resources_is_empty():
    assert plan_removal(ServiceRef("demo", "default", "web"), Observed(), keep=False) == []


def test_tags_of_cluster_with_same_prefix_are_foreign():
    service_ref = ServiceRef("demo_2", "ns", "web")
    assert service_named(service_ref.tag, "demo") is None
    assert service_named(service_ref.tag, "demo_2") == "ns/web"
    assert not made_for(LoadBalancer(service_ref.tag, tags=service_ref.tags()), "demo")
    assert service_of(service_ref.description, "demo") is None
    assert service_of(service_ref.description, "demo_2") == "ns/web"


def test_names_have_octavias_limit():
    long = ServiceRef("c" * 60, "n" * 63, "s" * 253)
    assert len(long.tag) == 255
    assert len(long.part("listener", "TCP", 80)) == 255
    assert len(cluster_tag("c" * 300)) == 255


def test_listener_without_tags_belongs_to_load_balancers_service():
    service_ref = ServiceRef("demo", "default", "web")
    bare = Listener("l", "TCP", 80)
    assert is_listener_of(bare, LoadBalancer(service_ref.tag), service_ref)
    assert not is_listener_of(bare, LoadBalancer("of-a-person"), service_ref)
    assert not is_listener_of(
        replace(bare, tags=("kube_service_demo_default_other",)), LoadBalancer(service_ref.tag), service_ref
    )


def test_views_parse_kubernetes_objects():
    found = service(sessionAffinity="ClientIP", externalTrafficPolicy="Local", healthCheckNodePort=32000)
    found["metadata"]["annotations"] = {"service.beta.kubernetes.io/load-balancer-source-ranges": "192.0.2.0/24, "}
    view = view_of(found)
    assert (view.sticky, view.local, view.health_port, view.ranges) == (True, True, 32000, ("192.0.2.0/24",))
    assert view.wanted
    assert node_of(node(1)) == Node("node-001", "10.0.0.11")
    assert node_of({"metadata": {"name": "new"}}) is None


def test_endpoints_without_condition_are_ready():
    listed = [{"nodeName": "a"}, {"nodeName": "b", "conditions": {"ready": False}}, {"conditions": {}}]
    assert serving_nodes([{"endpoints": listed}, {"endpoints": None}]) == {"a"}
