"""Services of type LoadBalancer in memory: what comes of them, and what a cloud that fails does to them."""

from __future__ import annotations

import pytest

from load_balancing import PREFIX, World, endpoints, service
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.reconcile import FIRST_RETRY
from moorage.ccm.load_balancers.settings import AMPHORA
from moorage.ccm.load_balancers.views import EXCLUDED, FINALIZER
from moorage.cloud.load_balancers import Listener, LoadBalancer
from moorage.cloud.network import FloatingIP
from moorage.kube.objects import ENDPOINT_SLICES, NODES, SERVICES
from moorage.model.ownership import cluster_tag, serving_tag

pytestmark = pytest.mark.unit

NAME = "kube_service_demo_default_web"


@pytest.fixture
def world():
    return World()


def members(world, index=0):
    return [(member.address, member.port) for member in world.only.listeners[index].pool.members]


def test_service_gets_load_balancer_floating_ip_and_rule(world):
    world.make()
    found = world.only
    assert (found.name, set(found.tags)) == (NAME, {NAME, cluster_tag("demo")})
    assert [(held.protocol, held.port, held.tags) for held in found.listeners] == [("TCP", 80, (NAME,))]
    assert members(world) == [("10.0.0.10", 30080), ("10.0.0.11", 30080)]
    assert found.listeners[0].pool.algorithm == "SOURCE_IP_PORT"
    assert world.floating.port == found.port
    assert world.open_to() == {("tcp", 30080, "0.0.0.0/0")}
    ports = [{"port": 80, "protocol": "TCP"}]
    assert world.shown() == [{"ip": world.floating.address, "ipMode": "VIP", "ports": ports}]
    assert world.reasons() == ["EnsuredLoadBalancer"]


def test_load_balancer_is_created_in_one_call(world):
    world.make(ports=((80, "TCP", 30080), (53, "UDP", 30053), (99, "SCTP", 30099)))
    assert [call for call in world.changes() if call != "create_rule"] == ["create", "create_floating_ip"]
    assert {(held.protocol, held.port) for held in world.only.listeners} == {("TCP", 80), ("UDP", 53), ("SCTP", 99)}
    assert {rule[:2] for rule in world.open_to()} == {("tcp", 30080), ("udp", 30053), ("sctp", 30099)}


def test_address_is_shown_only_when_active():
    world = World(settle=25)
    world.api.create(SERVICES, service())
    assert world.turn() == pytest.approx(0.3)
    assert world.only.pending
    assert world.network.floating == {}, "it may get lost while the provider is at work"
    assert world.shown() == []
    world.settle()
    assert world.floating.port == world.only.port
    assert world.shown()[0]["ip"] == world.floating.address


def test_pending_load_balancer_costs_one_call_per_poll():
    world = World(settle=25)
    world.api.create(SERVICES, service())
    world.turn()
    world.forget_calls()
    pauses = [world.turn() for _ in range(15)]
    assert world.calls() == ["status"] * 15
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1] <= 5.0) == (0.3, True)


def test_service_deleted_during_creation_leaves_nothing():
    world = World(settle=25)
    world.api.create(SERVICES, service())
    world.turn()
    world.delete()
    assert world.empty()


def test_after_neutron_steps_only_neutron_is_read(world):
    world.make()
    made = world.network.asked.index("create_floating_ip")
    assert world.network.asked[made + 1 :] == ["floating_ips", "rules"]
    assert world.load_balancers.asked == ["tagged", "named", "create", "tagged", "tree"]


def test_unchanged_service_makes_no_calls(world):
    world.make()
    world.forget_calls()
    assert world.settle() == 1
    assert world.calls() == []


def test_restart_observes_and_changes_nothing(world):
    world.make()
    world.forget_calls()
    world.restart()
    world.settle()
    assert world.changes() == []
    assert world.calls()


def test_deleted_service_deletes_everything(world):
    world.make()
    world.delete()
    assert world.empty()
    assert world.api.get(SERVICES, "default/web") is None


def test_changed_type_deletes_everything(world):
    world.make()
    world.spec(type="ClusterIP")
    world.settle()
    assert world.empty()
    left = world.api.get(SERVICES, "default/web")
    assert left["metadata"]["finalizers"] == []
    assert world.shown() == []


def test_finalizer_is_added_before_any_call(world):
    world.api.create(SERVICES, service())
    world.load_balancers.unreachable = "Octavia is away"
    assert world.turn() == FIRST_RETRY
    assert world.api.get(SERVICES, "default/web")["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("name", ["openstack.org/octavia", ""])
def test_service_of_our_class_or_none_is_managed(world, name):
    world.make(loadBalancerClass=name)
    assert world.only


def test_service_of_other_class_is_ignored(world):
    world.make(loadBalancerClass="example.org/other")
    assert world.calls() == []
    assert "finalizers" not in world.api.get(SERVICES, "default/web")["metadata"]


def test_members_of_160_nodes_take_one_call():
    world = World(nodes=160)
    world.make()
    assert len(members(world)) == 160
    world.forget_calls()
    world.api.delete(NODES, "node-007")
    world.watch()
    world.settle()
    assert world.changes() == ["set_members"]
    assert len(members(world)) == 159


def test_one_changed_member_takes_one_call_and_one_check():
    world = World(nodes=160)
    world.make()
    world.forget_calls()
    world.api.patch(NODES, "node-007", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, status=True)
    world.settle()
    assert world.calls() == ["set_members", "status"]
    assert len(members(world)) == 159


def test_irrelevant_node_change_makes_no_calls(world):
    world.make()
    world.forget_calls()
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {"edge": "yes"}}})
    assert world.settle() == 1
    assert world.calls() == []


def test_unchanged_nodes_share_one_tuple(world):
    world.make()
    before = world.targets.all()
    world.api.patch(NODES, "node-001", {"metadata": {"annotations": {"beat": "2"}}})
    world.watch()
    assert world.targets.all() is before
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {"edge": "yes"}}})
    world.watch()
    assert world.targets.all() != before


def test_new_port_sets_members_in_one_call():
    world = World(nodes=160)
    world.make()
    world.forget_calls()
    world.ports((80, "TCP", 30080), (443, "TCP", 30443))
    world.settle()
    assert world.changes() == ["create_listener", "create_pool", "set_members", "create_rule"]
    assert len(members(world, 1)) == 160


def test_removed_port_deletes_listener_pool_and_rule(world):
    world.make(ports=((80, "TCP", 30080), (443, "TCP", 30443)))
    world.forget_calls()
    world.ports((443, "TCP", 30443))
    world.settle()
    assert world.changes() == ["delete_pool", "delete_listener", "delete_rule"]
    assert [held.port for held in world.only.listeners] == [443]


def test_changed_node_port_opens_new_before_closing_old(world):
    world.make()
    world.forget_calls()
    world.ports((80, "TCP", 31000))
    world.settle()
    assert world.open_to() == {("tcp", 31000, "0.0.0.0/0")}
    assert members(world)[0] == ("10.0.0.10", 31000)
    assert world.network.asked.index("create_rule") < world.network.asked.index("delete_rule")


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"labels": {EXCLUDED: ""}}},
        {"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}},
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
    ],
    ids=["excluded", "drained", "not ready"],
)
def test_excluded_node_is_not_a_member(world, change):
    world.api.patch(NODES, "node-001", change, status="status" in change)
    world.make()
    assert members(world) == [("10.0.0.10", 30080)]


def test_all_nodes_are_members_when_none_is_ready(world):
    world.make()
    for name in ("node-000", "node-001"):
        change = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        world.api.patch(NODES, name, change, status=True)
    world.settle()
    assert len(members(world)) == 2


def test_node_selector_selects_members(world):
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {"edge": "yes"}}})
    world.make(annotations={f"{PREFIX}node-selector": "edge=yes"})
    assert members(world) == [("10.0.0.11", 30080)]


def test_node_change_wakes_services_only_if_relevant(world):
    world.make()
    old = world.api.get(NODES, "node-000")
    assert list(world.news.keys_for(NODES, old)) == ["all"]
    assert list(world.news.keys_for(NODES, old)) == []
    beat = world.api.patch(NODES, "node-000", {"metadata": {"annotations": {"beat": "2"}}})
    world.watch()
    assert list(world.news.keys_for(NODES, beat)) == []
    world.api.delete(NODES, "node-000")
    world.watch()
    assert list(world.news.keys_for(NODES, beat)) == ["all"]


def test_node_change_wakes_all_managed_services(world):
    world.make()
    world.make("theirs", loadBalancerClass="example.org/other")
    world.api.create(SERVICES, service("inner", type="ClusterIP"))
    world.watch()
    assert world.news.reconcile("all") is None
    assert world.woken == ["default/web"]


def test_endpoint_slice_wakes_its_service(world):
    assert list(world.reconciler.keys_for(ENDPOINT_SLICES, endpoints("web", 0))) == ["default/web"]


def test_local_traffic_with_ovn_follows_endpoints(world):
    world.api.create(ENDPOINT_SLICES, endpoints("web", 1))
    world.make(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    assert members(world) == [("10.0.0.11", 30080)]
    assert world.only.listeners[0].pool.monitor is None
    world.forget_calls()
    world.api.replace(ENDPOINT_SLICES, endpoints("web", 0))
    world.settle()
    assert members(world) == [("10.0.0.10", 30080)]
    assert world.changes() == ["set_members"]


def test_local_traffic_with_amphora_monitors_health_port():
    world = World(AMPHORA)
    world.make(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    pool = world.only.listeners[0].pool
    assert (pool.monitor.type, pool.monitor.path) == ("HTTP", "/healthz")
    assert {member.monitor_port for member in pool.members} == {32000}
    assert ("tcp", 32000, "10.0.0.0/16") in world.open_to()


def test_health_monitor_is_created_updated_and_deleted(world):
    world.make(annotations={f"{PREFIX}enable-health-monitor": "true"})
    assert world.only.listeners[0].pool.monitor.delay == 5
    world.annotate(health_monitor_delay="9")
    world.settle()
    assert world.only.listeners[0].pool.monitor.delay == 9
    world.annotate(enable_health_monitor="false")
    world.settle()
    assert world.only.listeners[0].pool.monitor is None
    assert [call for call in world.changes() if "monitor" in call] == [
        "create_health_monitor",
        "update_health_monitor",
        "delete_health_monitor",
    ]


def test_session_affinity_is_set_and_reset(world):
    world.make(sessionAffinity="ClientIP")
    assert world.only.listeners[0].pool.session_persistence == "SOURCE_IP"
    world.forget_calls()
    world.spec(sessionAffinity="None")
    world.settle()
    assert world.changes() == ["update_pool"]
    assert world.only.listeners[0].pool.session_persistence == ""


def test_source_ranges_with_ovn_are_rules(world):
    world.make(loadBalancerSourceRanges=["192.0.2.7/24"])
    assert world.open_to() == {("tcp", 30080, "192.0.2.0/24")}
    world.spec(loadBalancerSourceRanges=["198.51.100.0/24"])
    world.settle()
    assert world.open_to() == {("tcp", 30080, "198.51.100.0/24")}


def test_source_ranges_with_amphora_are_allowed_cidrs():
    world = World(AMPHORA)
    world.make(loadBalancerSourceRanges=["192.0.2.0/24"])
    assert world.only.listeners[0].allowed_cidrs == ("192.0.2.0/24",)
    assert world.open_to() == {("tcp", 30080, "10.0.0.0/16")}
    world.spec(loadBalancerSourceRanges=None)
    world.settle()
    assert world.only.listeners[0].allowed_cidrs == ()


def test_internal_service_has_no_floating_ip(world):
    world.make(annotations={"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"})
    assert world.network.floating == {}
    assert world.shown()[0]["ip"] == world.only.address


def test_service_becomes_internal_and_back(world):
    internal = "service.beta.kubernetes.io/openstack-internal-load-balancer"
    world.make()
    world.api.patch(SERVICES, "default/web", {"metadata": {"annotations": {internal: "true"}}})
    world.settle()
    assert world.network.floating == {}
    assert world.shown()[0]["ip"] == world.only.address
    world.api.patch(SERVICES, "default/web", {"metadata": {"annotations": {internal: None}}})
    world.settle()
    assert world.shown()[0]["ip"] == world.floating.address


def test_internal_service_gets_requested_address(world):
    internal = {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}
    world.make(annotations=internal, loadBalancerIP="10.0.0.77")
    assert world.shown()[0]["ip"] == "10.0.0.77"


def test_existing_floating_ip_is_used_and_kept(world):
    world.network.floating["mine"] = FloatingIP("mine", "172.24.4.9")
    world.make(loadBalancerIP="172.24.4.9")
    assert world.shown()[0]["ip"] == "172.24.4.9"
    world.delete()
    assert world.network.floating == {"mine": FloatingIP("mine", "172.24.4.9")}


def test_keep_floatingip_keeps_floating_ip(world):
    world.make(annotations={f"{PREFIX}keep-floatingip": "true"})
    address = world.floating.address
    world.delete()
    assert (world.floating.address, world.floating.port, world.floating.description) == (address, "", "")


def test_keep_floatingip_is_in_description(world):
    service_ref = ServiceRef("demo", "default", "web")
    world.make()
    assert world.floating.description == service_ref.description
    for keep in (True, False):
        world.annotate(keep_floatingip=str(keep).lower())
        world.settle()
        assert world.floating.description == service_ref.described(keep=keep)
    world.forget_calls()
    world.restart()
    world.settle()
    assert world.changes() == []


def test_shared_kept_floating_ip_is_handed_over(world):
    world.make(annotations={f"{PREFIX}keep-floatingip": "true"})
    world.make("other", annotations={f"{PREFIX}load-balancer-id": world.only.id}, ports=((443, "TCP", 30443),))
    world.delete()
    assert world.floating.description == ServiceRef("demo", "default", "other").described(keep=True)


def test_floating_subnet_is_found_by_name(world):
    world.make(annotations={f"{PREFIX}floating-subnet": "a"})
    assert world.floating
    world.make("other", annotations={f"{PREFIX}floating-subnet-tags": "silver, gold"})
    assert len(world.network.floating) == 2


def test_hostname_is_shown_instead_of_address(world):
    world.make(annotations={f"{PREFIX}hostname": "web.example.org"})
    assert world.shown() == [{"hostname": "web.example.org", "ports": [{"port": 80, "protocol": "TCP"}]}]


def test_proxy_protocol_and_forwarded_for_with_amphora():
    world = World(AMPHORA)
    world.make(annotations={f"{PREFIX}proxy-protocol": "v2"})
    assert world.only.listeners[0].pool.protocol == "PROXYV2"
    assert world.shown()[0]["ipMode"] == "Proxy"
    world.annotate(proxy_protocol="false", x_forwarded_for="true")
    world.settle()
    (held,) = world.only.listeners
    assert (held.protocol, held.pool.protocol, held.forwarded_for) == ("HTTP", "HTTP", True)


def test_listener_limits_with_amphora():
    world = World(AMPHORA)
    world.make(annotations={f"{PREFIX}connection-limit": "50", f"{PREFIX}timeout-client-data": "1000"})
    (held,) = world.only.listeners
    assert (held.connections, held.timeouts.client_data) == (50, 1000)
    world.forget_calls()
    world.annotate(connection_limit="60")
    world.settle()
    assert world.changes() == ["update_listener"]


@pytest.mark.parametrize("alone", [True, False])
def test_load_balancer_in_error_is_recreated_with_same_address(world, alone):
    words = {} if alone else {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}
    world.make(annotations=words)
    before, shown = world.only, world.shown()
    world.load_balancers.becomes(before.id, "ERROR")
    world.sweeper.reconcile("all")
    assert world.woken == ["default/web"]
    world.settle()
    assert world.only.id != before.id
    assert world.only.provisioning_status == "ACTIVE"
    assert world.shown() == shown
    assert "RecreatingLoadBalancer" in world.reasons()


def test_deleted_load_balancer_is_recreated(world):
    world.make()
    world.load_balancers.delete(world.only.id)
    world.sweeper.reconcile("all")
    assert world.woken == ["default/web"]
    world.settle()
    assert world.floating.port == world.only.port


def test_service_with_deleted_load_balancer_leaves_nothing(world):
    world.make()
    world.load_balancers.delete(world.only.id)
    world.delete()
    assert world.empty()


def foreign(world, **words):
    world.load_balancers.held["theirs"] = LoadBalancer(
        "theirs", "ovn", id="theirs", port="port-t", address="10.0.0.60", provisioning_status="ACTIVE", **words
    )


def test_existing_load_balancer_is_used_and_kept(world):
    foreign(world, listeners=(Listener("l", "TCP", 22, id="l-1"),))
    world.make(annotations={f"{PREFIX}load-balancer-id": "theirs"})
    assert {held.port for held in world.only.listeners} == {22, 80}
    assert world.only.tags == (NAME, serving_tag("demo"))
    world.delete()
    assert [held.port for held in world.only.listeners] == [22]
    assert world.only.tags == ()
    assert (world.network.floating, world.network.let_in) == ({}, {})


def test_existing_load_balancer_has_cluster_tag_until_last_service(world):
    foreign(world)
    annotations = {f"{PREFIX}load-balancer-id": "theirs"}
    world.make(annotations=annotations)
    world.make("other", annotations, ((443, "TCP", 30443),))
    world.delete()
    assert set(world.only.tags) == {"kube_service_demo_default_other", serving_tag("demo")}
    world.delete("other")
    assert world.only.tags == ()


def test_missing_existing_load_balancer_is_reported(world):
    world.api.create(SERVICES, service(annotations={f"{PREFIX}load-balancer-id": "nowhere"}))
    assert world.turn() == FIRST_RETRY
    assert world.events()[0][0] == "NotFound"
    assert "load balancer nowhere" in world.events()[0][1]
    world.delete()
    assert world.empty()


def test_foreign_load_balancer_in_error_is_not_changed(world):
    foreign(world)
    world.load_balancers.becomes("theirs", "ERROR")
    world.api.create(SERVICES, service(annotations={f"{PREFIX}load-balancer-id": "theirs"}))
    assert world.turn() == FIRST_RETRY
    assert world.only.id == "theirs"
    assert world.reasons() == ["Failed"]


@pytest.mark.parametrize("first", ["web", "other"])
def test_shared_load_balancer_is_deleted_with_last_service(world, first):
    world.make()
    id = world.only.id
    world.make("other", annotations={f"{PREFIX}load-balancer-id": id}, ports=((443, "TCP", 30443),))
    assert {held.port for held in world.only.listeners} == {80, 443}
    assert world.shown("other")[0]["ip"] == world.shown("web")[0]["ip"] == world.floating.address
    last = "other" if first == "web" else "web"
    shown = world.shown(last)
    world.delete(first)
    assert [held.port for held in world.only.listeners] == [443 if last == "other" else 80]
    world.settle(last)
    assert (world.shown(last), world.only.id) == (shown, id)
    world.sweeper.reconcile("all")
    assert world.floating.port == world.only.port
    world.delete(last)
    assert world.empty()


def test_shared_load_balancer_rejects_same_port(world):
    world.make()
    world.api.create(SERVICES, service("other", {f"{PREFIX}load-balancer-id": world.only.id}))
    assert world.turn("other") == FIRST_RETRY
    assert "port 80 of the load balancer is in use by" in dict(world.events())["InUse"]
    assert len(world.only.listeners) == 1


def test_changed_load_balancer_id_leaves_old_one(world):
    world.make()
    foreign(world)
    world.annotate(load_balancer_id="theirs")
    world.settle()
    assert world.only.id == "theirs"
    assert world.floating.port == "port-t"
    world.delete()
    assert (world.network.floating, world.network.let_in) == ({}, {})


def test_cloud_provider_openstack_load_balancer_is_adopted(world):
    world.make()
    held = world.only
    (before,) = held.listeners
    old = [Listener("listener_0", "TCP", 80, before.pool, (NAME,), id=before.id)]
    world.load_balancers.held[held.id] = LoadBalancer(
        NAME, "ovn", tags=(NAME,), listeners=tuple(old), port=held.port, address=held.address, id=held.id,
        provisioning_status="ACTIVE",
    )  # fmt: skip
    text = ServiceRef("demo", "default", "web").descriptions[1]
    world.network.set_floating_ip_description(world.floating.id, text)
    world.annotate(load_balancer_id=held.id, load_balancer_address=held.address)
    world.restart()
    world.forget_calls()
    world.settle()
    assert world.changes() == ["set_tags"]
    assert cluster_tag("demo") in world.only.tags
    world.delete()
    assert world.empty()


def test_adopted_load_balancer_in_error_keeps_floating_ip(world):
    world.make()
    world.network.set_floating_ip_description(world.floating.id, ServiceRef("demo", "default", "web").descriptions[1])
    world.annotate(load_balancer_id=world.only.id)
    address, before = world.floating.address, world.only.id
    world.load_balancers.becomes(before, "ERROR")
    world.restart()
    world.settle()
    assert world.only.id != before
    assert (world.floating.address, world.floating.port) == (address, world.only.port)


def test_creation_only_annotation_added_later_is_reported(world):
    world.make()
    world.annotate(subnet_id="another")
    world.settle()
    assert (
        "subnet-id has no effect on an existing load balancer: it has subnet"
        in dict(world.events())["AnnotationIgnored"]
    )
    world.make("other", annotations={f"{PREFIX}subnet-id": "another"})
    assert world.reasons().count("AnnotationIgnored") == 1
