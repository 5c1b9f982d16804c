"""Services of type LoadBalancer in memory: their load balancers, and the effects of a failing cloud."""

from __future__ import annotations

import pytest

from load_balancing import PREFIX, World, endpoints, service
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.reconcile import FIRST_RETRY
from moorage.ccm.load_balancers.settings import AMPHORA
from moorage.ccm.load_balancers.views import EXCLUDED, FINALIZER
from moorage.cloud.port.load_balancers import Listener, LoadBalancer
from moorage.cloud.port.network import FloatingIP
from moorage.kube.port import ENDPOINT_SLICES, NODES, SERVICES
from moorage.model.ownership import cluster_tag, serving_tag

pytestmark = pytest.mark.unit

NAME = "kube_service_demo_default_web"


@pytest.fixture
def world():
    return World()


def members(world, index=0):
    return [(member.address, member.port) for member in world.load_balancer.listeners[index].pool.members]


def test_new_service_gets_load_balancer_floating_ip_and_rule(world):
    world.create_service()
    load_balancer = world.load_balancer
    assert (load_balancer.name, set(load_balancer.tags)) == (NAME, {NAME, cluster_tag("demo")})
    assert [(listener.protocol, listener.port, listener.tags) for listener in load_balancer.listeners] == [
        ("TCP", 80, (NAME,))
    ]
    assert members(world) == [("10.0.0.10", 30080), ("10.0.0.11", 30080)]
    assert load_balancer.listeners[0].pool.algorithm == "SOURCE_IP_PORT"
    assert world.floating_ip.port == load_balancer.port
    assert world.open_ports() == {("tcp", 30080, "0.0.0.0/0")}
    ports = [{"port": 80, "protocol": "TCP"}]
    assert world.ingress() == [{"ip": world.floating_ip.address, "ipMode": "VIP", "ports": ports}]
    assert world.reasons() == ["EnsuredLoadBalancer"]


def test_load_balancer_is_created_in_one_octavia_call(world):
    world.create_service(ports=((80, "TCP", 30080), (53, "UDP", 30053), (99, "SCTP", 30099)))
    assert [call for call in world.write_calls() if call != "create_rule"] == ["create", "create_floating_ip"]
    assert {(listener.protocol, listener.port) for listener in world.load_balancer.listeners} == {
        ("TCP", 80),
        ("UDP", 53),
        ("SCTP", 99),
    }
    assert {rule[:2] for rule in world.open_ports()} == {("tcp", 30080), ("udp", 30053), ("sctp", 30099)}


def test_address_is_published_only_once_load_balancer_is_active():
    world = World(pending_polls=25)
    world.api.create(SERVICES, service())
    assert world.reconcile() == pytest.approx(0.3)
    assert world.load_balancer.pending
    assert world.network.floating == {}, "the provider may drop it while it updates the load balancer"
    assert world.ingress() == []
    world.converge()
    assert world.floating_ip.port == world.load_balancer.port
    assert world.ingress()[0]["ip"] == world.floating_ip.address


def test_pending_load_balancer_costs_one_call_per_poll():
    world = World(pending_polls=25)
    world.api.create(SERVICES, service())
    world.reconcile()
    world.clear_calls()
    delays = [world.reconcile() for _ in range(15)]
    assert world.calls() == ["status"] * 15
    assert delays == sorted(delays)
    assert (delays[0], delays[-1] <= 5.0) == (0.3, True)


def test_service_deleted_during_creation_leaves_nothing():
    world = World(pending_polls=25)
    world.api.create(SERVICES, service())
    world.reconcile()
    world.delete()
    assert world.is_empty()


def test_after_floating_ip_creation_only_neutron_is_observed(world):
    world.create_service()
    created = world.network.calls.index("create_floating_ip")
    assert world.network.calls[created + 1 :] == ["floating_ips", "rules"]
    assert world.load_balancers.calls == ["tagged", "named", "create", "tagged", "get"]


def test_unchanged_service_makes_no_calls(world):
    world.create_service()
    world.clear_calls()
    assert world.converge() == 1
    assert world.calls() == []


def test_restart_observes_and_changes_nothing(world):
    world.create_service()
    world.clear_calls()
    world.restart()
    world.converge()
    assert world.write_calls() == []
    assert world.calls()


def test_deleted_service_leaves_nothing(world):
    world.create_service()
    world.delete()
    assert world.is_empty()
    assert world.api.get(SERVICES, "default/web") is None


def test_service_changed_to_another_type_leaves_nothing(world):
    world.create_service()
    world.patch_spec(type="ClusterIP")
    world.converge()
    assert world.is_empty()
    remaining = world.api.get(SERVICES, "default/web")
    assert remaining["metadata"]["finalizers"] == []
    assert world.ingress() == []


def test_finalizer_is_added_before_creation(world):
    world.api.create(SERVICES, service())
    world.load_balancers.unreachable = "Octavia does not answer"
    assert world.reconcile() == FIRST_RETRY
    assert world.api.get(SERVICES, "default/web")["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("name", ["openstack.org/octavia", ""])
def test_service_of_our_class_or_without_class_is_managed(world, name):
    world.create_service(loadBalancerClass=name)
    assert world.load_balancer


def test_service_of_another_class_is_ignored(world):
    world.create_service(loadBalancerClass="example.org/other")
    assert world.calls() == []
    assert "finalizers" not in world.api.get(SERVICES, "default/web")["metadata"]


def test_members_of_160_nodes_are_set_in_one_call():
    world = World(nodes=160)
    world.create_service()
    assert len(members(world)) == 160
    world.clear_calls()
    world.api.delete(NODES, "node-007")
    world.sync_caches()
    world.converge()
    assert world.write_calls() == ["set_members"]
    assert len(members(world)) == 159


def test_one_changed_member_of_160_costs_one_call_and_one_status_poll():
    world = World(nodes=160)
    world.create_service()
    world.clear_calls()
    world.api.patch(NODES, "node-007", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, status=True)
    world.converge()
    assert world.calls() == ["set_members", "status"]
    assert len(members(world)) == 159


def test_node_change_without_effect_on_members_makes_no_calls(world):
    world.create_service()
    world.clear_calls()
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {"edge": "yes"}}})
    assert world.converge() == 1
    assert world.calls() == []


def test_target_nodes_unchanged_return_same_tuple(world):
    world.create_service()
    before = world.targets.all()
    world.api.patch(NODES, "node-001", {"metadata": {"annotations": {"heartbeat": "2"}}})
    world.sync_caches()
    assert world.targets.all() is before
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {"edge": "yes"}}})
    world.sync_caches()
    assert world.targets.all() != before


def test_members_of_new_port_are_set_in_one_call():
    world = World(nodes=160)
    world.create_service()
    world.clear_calls()
    world.set_ports((80, "TCP", 30080), (443, "TCP", 30443))
    world.converge()
    assert world.write_calls() == ["create_listener", "create_pool", "set_members", "create_rule"]
    assert len(members(world, 1)) == 160


def test_removed_port_deletes_listener_pool_and_rule(world):
    world.create_service(ports=((80, "TCP", 30080), (443, "TCP", 30443)))
    world.clear_calls()
    world.set_ports((443, "TCP", 30443))
    world.converge()
    assert world.write_calls() == ["delete_pool", "delete_listener", "delete_rule"]
    assert [listener.port for listener in world.load_balancer.listeners] == [443]


def test_changed_node_port_is_opened_before_old_one_is_closed(world):
    world.create_service()
    world.clear_calls()
    world.set_ports((80, "TCP", 31000))
    world.converge()
    assert world.open_ports() == {("tcp", 31000, "0.0.0.0/0")}
    assert members(world)[0] == ("10.0.0.10", 31000)
    assert world.network.calls.index("create_rule") < world.network.calls.index("delete_rule")


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"labels": {EXCLUDED: ""}}},
        {"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}},
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
    ],
    ids=["excluded", "drained", "not ready"],
)
def test_excluded_drained_or_not_ready_node_is_no_member(world, change):
    world.api.patch(NODES, "node-001", change, status="status" in change)
    world.create_service()
    assert members(world) == [("10.0.0.10", 30080)]


def test_no_node_ready_keeps_all_members(world):
    world.create_service()
    for name in ("node-000", "node-001"):
        change = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        world.api.patch(NODES, name, change, status=True)
    world.converge()
    assert len(members(world)) == 2


def test_node_selector_selects_members_by_label(world):
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {"edge": "yes"}}})
    world.create_service(annotations={f"{PREFIX}node-selector": "edge=yes"})
    assert members(world) == [("10.0.0.11", 30080)]


def test_node_changes_wake_services_only_if_relevant(world):
    world.create_service()
    node = world.api.get(NODES, "node-000")
    assert list(world.node_changes.keys_for(NODES, node)) == ["all"]
    assert list(world.node_changes.keys_for(NODES, node)) == []
    heartbeat = world.api.patch(NODES, "node-000", {"metadata": {"annotations": {"heartbeat": "2"}}})
    world.sync_caches()
    assert list(world.node_changes.keys_for(NODES, heartbeat)) == []
    world.api.delete(NODES, "node-000")
    world.sync_caches()
    assert list(world.node_changes.keys_for(NODES, heartbeat)) == ["all"]


def test_node_changes_wake_only_managed_services(world):
    world.create_service()
    world.create_service("other-class", loadBalancerClass="example.org/other")
    world.api.create(SERVICES, service("internal", type="ClusterIP"))
    world.sync_caches()
    assert world.node_changes.reconcile("all") is None
    assert world.woken == ["default/web"]


def test_endpoint_slice_wakes_its_service(world):
    assert list(world.reconciler.keys_for(ENDPOINT_SLICES, endpoints("web", 0))) == ["default/web"]


def test_local_traffic_with_ovn_selects_nodes_with_endpoints(world):
    world.api.create(ENDPOINT_SLICES, endpoints("web", 1))
    world.create_service(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    assert members(world) == [("10.0.0.11", 30080)]
    assert world.load_balancer.listeners[0].pool.monitor is None
    world.clear_calls()
    world.api.replace(ENDPOINT_SLICES, endpoints("web", 0))
    world.converge()
    assert members(world) == [("10.0.0.10", 30080)]
    assert world.write_calls() == ["set_members"]


def test_local_traffic_with_amphora_monitors_health_check_port():
    world = World(AMPHORA)
    world.create_service(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    pool = world.load_balancer.listeners[0].pool
    assert (pool.monitor.type, pool.monitor.path) == ("HTTP", "/healthz")
    assert {member.monitor_port for member in pool.members} == {32000}
    assert ("tcp", 32000, "10.0.0.0/16") in world.open_ports()


def test_monitor_is_created_updated_and_deleted(world):
    world.create_service(annotations={f"{PREFIX}enable-health-monitor": "true"})
    assert world.load_balancer.listeners[0].pool.monitor.delay == 5
    world.annotate(health_monitor_delay="9")
    world.converge()
    assert world.load_balancer.listeners[0].pool.monitor.delay == 9
    world.annotate(enable_health_monitor="false")
    world.converge()
    assert world.load_balancer.listeners[0].pool.monitor is None
    assert [call for call in world.write_calls() if "monitor" in call] == [
        "create_health_monitor",
        "update_health_monitor",
        "delete_health_monitor",
    ]


def test_session_affinity_is_enabled_and_disabled(world):
    world.create_service(sessionAffinity="ClientIP")
    assert world.load_balancer.listeners[0].pool.session_persistence == "SOURCE_IP"
    world.clear_calls()
    world.patch_spec(sessionAffinity="None")
    world.converge()
    assert world.write_calls() == ["update_pool"]
    assert world.load_balancer.listeners[0].pool.session_persistence == ""


def test_source_ranges_with_transparent_provider_are_rules(world):
    world.create_service(loadBalancerSourceRanges=["192.0.2.7/24"])
    assert world.open_ports() == {("tcp", 30080, "192.0.2.0/24")}
    world.patch_spec(loadBalancerSourceRanges=["198.51.100.0/24"])
    world.converge()
    assert world.open_ports() == {("tcp", 30080, "198.51.100.0/24")}


def test_source_ranges_with_amphora_are_allowed_cidrs_of_listeners():
    world = World(AMPHORA)
    world.create_service(loadBalancerSourceRanges=["192.0.2.0/24"])
    assert world.load_balancer.listeners[0].allowed_cidrs == ("192.0.2.0/24",)
    assert world.open_ports() == {("tcp", 30080, "10.0.0.0/16")}
    world.patch_spec(loadBalancerSourceRanges=None)
    world.converge()
    assert world.load_balancer.listeners[0].allowed_cidrs == ()


def test_internal_service_has_no_floating_ip(world):
    world.create_service(annotations={"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"})
    assert world.network.floating == {}
    assert world.ingress()[0]["ip"] == world.load_balancer.address


def test_service_becomes_internal_and_external_again(world):
    internal = "service.beta.kubernetes.io/openstack-internal-load-balancer"
    world.create_service()
    world.api.patch(SERVICES, "default/web", {"metadata": {"annotations": {internal: "true"}}})
    world.converge()
    assert world.network.floating == {}
    assert world.ingress()[0]["ip"] == world.load_balancer.address
    world.api.patch(SERVICES, "default/web", {"metadata": {"annotations": {internal: None}}})
    world.converge()
    assert world.ingress()[0]["ip"] == world.floating_ip.address


def test_internal_service_gets_requested_address(world):
    internal = {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}
    world.create_service(annotations=internal, loadBalancerIP="10.0.0.77")
    assert world.ingress()[0]["ip"] == "10.0.0.77"


def test_existing_floating_ip_is_used_and_kept(world):
    world.network.floating["existing"] = FloatingIP("existing", "172.24.4.9")
    world.create_service(loadBalancerIP="172.24.4.9")
    assert world.ingress()[0]["ip"] == "172.24.4.9"
    world.delete()
    assert world.network.floating == {"existing": FloatingIP("existing", "172.24.4.9")}


def test_keep_annotation_keeps_floating_ip_after_deletion(world):
    world.create_service(annotations={f"{PREFIX}keep-floatingip": "true"})
    address = world.floating_ip.address
    world.delete()
    assert (world.floating_ip.address, world.floating_ip.port, world.floating_ip.description) == (address, "", "")


def test_keep_annotation_changes_floating_ip_description(world):
    service_ref = ServiceRef("demo", "default", "web")
    world.create_service()
    assert world.floating_ip.description == service_ref.description
    for keep in (True, False):
        world.annotate(keep_floatingip=str(keep).lower())
        world.converge()
        assert world.floating_ip.description == service_ref.floating_ip_description(keep=keep)
    world.clear_calls()
    world.restart()
    world.converge()
    assert world.write_calls() == []


def test_shared_floating_ip_to_be_kept_is_handed_over_as_such(world):
    world.create_service(annotations={f"{PREFIX}keep-floatingip": "true"})
    world.create_service(
        "other", annotations={f"{PREFIX}load-balancer-id": world.load_balancer.id}, ports=((443, "TCP", 30443),)
    )
    world.delete()
    assert world.floating_ip.description == ServiceRef("demo", "default", "other").floating_ip_description(keep=True)


def test_floating_subnet_is_found_by_name_and_tags(world):
    world.create_service(annotations={f"{PREFIX}floating-subnet": "a"})
    assert world.floating_ip
    world.create_service("other", annotations={f"{PREFIX}floating-subnet-tags": "silver, gold"})
    assert len(world.network.floating) == 2


def test_hostname_replaces_address_in_status(world):
    world.create_service(annotations={f"{PREFIX}hostname": "web.example.org"})
    assert world.ingress() == [{"hostname": "web.example.org", "ports": [{"port": 80, "protocol": "TCP"}]}]


def test_proxy_protocol_and_forwarded_for_with_amphora():
    world = World(AMPHORA)
    world.create_service(annotations={f"{PREFIX}proxy-protocol": "v2"})
    assert world.load_balancer.listeners[0].pool.protocol == "PROXYV2"
    assert world.ingress()[0]["ipMode"] == "Proxy"
    world.annotate(proxy_protocol="false", x_forwarded_for="true")
    world.converge()
    (listener,) = world.load_balancer.listeners
    assert (listener.protocol, listener.pool.protocol, listener.forwarded_for) == ("HTTP", "HTTP", True)


def test_listener_limits_with_amphora():
    world = World(AMPHORA)
    world.create_service(annotations={f"{PREFIX}connection-limit": "50", f"{PREFIX}timeout-client-data": "1000"})
    (listener,) = world.load_balancer.listeners
    assert (listener.connections, listener.timeouts.client_data) == (50, 1000)
    world.clear_calls()
    world.annotate(connection_limit="60")
    world.converge()
    assert world.write_calls() == ["update_listener"]


@pytest.mark.parametrize("internal", [False, True])
def test_load_balancer_in_error_is_recreated_with_same_address(world, internal):
    annotations = {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"} if internal else {}
    world.create_service(annotations=annotations)
    before, ingress = world.load_balancer, world.ingress()
    world.load_balancers.set_status(before.id, "ERROR")
    world.collector.reconcile("all")
    assert world.woken == ["default/web"]
    world.converge()
    assert world.load_balancer.id != before.id
    assert world.load_balancer.provisioning_status == "ACTIVE"
    assert world.ingress() == ingress
    assert "RecreatingLoadBalancer" in world.reasons()


def test_load_balancer_deleted_by_another_client_is_recreated(world):
    world.create_service()
    world.load_balancers.delete(world.load_balancer.id)
    world.collector.reconcile("all")
    assert world.woken == ["default/web"]
    world.converge()
    assert world.floating_ip.port == world.load_balancer.port


def test_service_deleted_after_its_load_balancer_leaves_nothing(world):
    world.create_service()
    world.load_balancers.delete(world.load_balancer.id)
    world.delete()
    assert world.is_empty()


def add_foreign_load_balancer(world, **fields):
    world.load_balancers.by_id["foreign"] = LoadBalancer(
        "foreign", "ovn", id="foreign", port="port-f", address="10.0.0.60", provisioning_status="ACTIVE", **fields
    )


def test_existing_load_balancer_is_used_and_kept(world):
    add_foreign_load_balancer(world, listeners=(Listener("l", "TCP", 22, id="l-1"),))
    world.create_service(annotations={f"{PREFIX}load-balancer-id": "foreign"})
    assert {listener.port for listener in world.load_balancer.listeners} == {22, 80}
    assert world.load_balancer.tags == (NAME, serving_tag("demo"))
    world.delete()
    assert [listener.port for listener in world.load_balancer.listeners] == [22]
    assert world.load_balancer.tags == ()
    assert (world.network.floating, world.network.security_group_rules) == ({}, {})


def test_existing_load_balancer_has_serving_tag_until_last_service_is_deleted(world):
    add_foreign_load_balancer(world)
    annotations = {f"{PREFIX}load-balancer-id": "foreign"}
    world.create_service(annotations=annotations)
    world.create_service("other", annotations, ((443, "TCP", 30443),))
    world.delete()
    assert set(world.load_balancer.tags) == {"kube_service_demo_default_other", serving_tag("demo")}
    world.delete("other")
    assert world.load_balancer.tags == ()


def test_missing_existing_load_balancer_records_event(world):
    world.api.create(SERVICES, service(annotations={f"{PREFIX}load-balancer-id": "nowhere"}))
    assert world.reconcile() == FIRST_RETRY
    assert world.events()[0][0] == "NotFound"
    assert "load balancer nowhere" in world.events()[0][1]
    world.delete()
    assert world.is_empty()


def test_foreign_load_balancer_in_error_is_not_changed(world):
    add_foreign_load_balancer(world)
    world.load_balancers.set_status("foreign", "ERROR")
    world.api.create(SERVICES, service(annotations={f"{PREFIX}load-balancer-id": "foreign"}))
    assert world.reconcile() == FIRST_RETRY
    assert world.load_balancer.id == "foreign"
    assert world.reasons() == ["Failed"]


@pytest.mark.parametrize("first", ["web", "other"])
def test_shared_load_balancer_is_deleted_with_last_service(world, first):
    world.create_service()
    id = world.load_balancer.id
    world.create_service("other", annotations={f"{PREFIX}load-balancer-id": id}, ports=((443, "TCP", 30443),))
    assert {listener.port for listener in world.load_balancer.listeners} == {80, 443}
    assert world.ingress("other")[0]["ip"] == world.ingress("web")[0]["ip"] == world.floating_ip.address
    last = "other" if first == "web" else "web"
    ingress = world.ingress(last)
    world.delete(first)
    assert [listener.port for listener in world.load_balancer.listeners] == [443 if last == "other" else 80]
    world.converge(last)
    assert (world.ingress(last), world.load_balancer.id) == (ingress, id)
    world.collector.reconcile("all")
    assert world.floating_ip.port == world.load_balancer.port
    world.delete(last)
    assert world.is_empty()


def test_shared_load_balancer_with_same_port_records_event(world):
    world.create_service()
    world.api.create(SERVICES, service("other", {f"{PREFIX}load-balancer-id": world.load_balancer.id}))
    assert world.reconcile("other") == FIRST_RETRY
    assert "port 80 of the load balancer is in use by" in dict(world.events())["InUse"]
    assert len(world.load_balancer.listeners) == 1


def test_service_naming_another_load_balancer_deletes_its_own(world):
    world.create_service()
    add_foreign_load_balancer(world)
    world.annotate(load_balancer_id="foreign")
    world.converge()
    assert world.load_balancer.id == "foreign"
    assert world.floating_ip.port == "port-f"
    world.delete()
    assert (world.network.floating, world.network.security_group_rules) == ({}, {})


def test_load_balancer_of_openstack_provider_is_taken_over_without_interruption(world):
    world.create_service()
    created = world.load_balancer
    (before,) = created.listeners
    old = [Listener("listener_0", "TCP", 80, before.pool, (NAME,), id=before.id)]
    world.load_balancers.by_id[created.id] = LoadBalancer(
        NAME, "ovn", tags=(NAME,), listeners=tuple(old), port=created.port, address=created.address, id=created.id,
        provisioning_status="ACTIVE",
    )  # fmt: skip
    description = ServiceRef("demo", "default", "web").floating_ip_descriptions[1]
    world.network.set_floating_ip_description(world.floating_ip.id, description)
    world.annotate(load_balancer_id=created.id, load_balancer_address=created.address)
    world.restart()
    world.clear_calls()
    world.converge()
    assert world.write_calls() == ["set_tags"]
    assert cluster_tag("demo") in world.load_balancer.tags
    world.delete()
    assert world.is_empty()


def test_load_balancer_of_openstack_provider_in_error_keeps_floating_ip(world):
    world.create_service()
    world.network.set_floating_ip_description(
        world.floating_ip.id, ServiceRef("demo", "default", "web").floating_ip_descriptions[1]
    )
    world.annotate(load_balancer_id=world.load_balancer.id)
    address, before = world.floating_ip.address, world.load_balancer.id
    world.load_balancers.set_status(before, "ERROR")
    world.restart()
    world.converge()
    assert world.load_balancer.id != before
    assert (world.floating_ip.address, world.floating_ip.port) == (address, world.load_balancer.port)


def test_creation_only_annotation_added_later_records_event(world):
    world.create_service()
    world.annotate(subnet_id="another")
    world.converge()
    assert (
        "subnet-id does nothing to an existing load balancer: it keeps subnet"
        in dict(world.events())["AnnotationIgnored"]
    )
    world.create_service("other", annotations={f"{PREFIX}subnet-id": "another"})
    assert world.reasons().count("AnnotationIgnored") == 1
