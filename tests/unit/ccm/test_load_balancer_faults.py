"""Load balancers when the process dies between any two cloud calls, and when the cloud rejects calls or is down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from load_balancing import PREFIX, ProcessKilled, World, endpoints, service
from moorage.ccm.load_balancers.garbage_collect import OwnedObjects, list_owned, plan_garbage_collection
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.reconcile import FIRST_RETRY
from moorage.ccm.load_balancers.settings import AMPHORA, OVN
from moorage.ccm.load_balancers.views import EXCLUDED
from moorage.cloud.port.load_balancers import LoadBalancer
from moorage.cloud.port.network import FloatingIP, SecurityGroupRule
from moorage.kube.port import ENDPOINT_SLICES, NODES, SERVICES
from moorage.model.errors import CloudUnreachable, KubernetesUnreachable
from moorage.model.ownership import cluster_tag

pytestmark = pytest.mark.unit

TWO_PORTS = ((80, "TCP", 30080), (53, "UDP", 30053))
MONITORED = {f"{PREFIX}enable-health-monitor": "true"}


def create(world):
    world.api.create(SERVICES, service(annotations=MONITORED, ports=TWO_PORTS))
    world.converge()


def update(world):
    """Changes ports, node port, members, source ranges, session affinity and monitor; removes UDP."""
    create(world)
    world.set_ports((80, "TCP", 31080), (443, "TCP", 30443))
    world.api.delete(NODES, "node-001")
    world.annotate(health_monitor_delay="8")
    world.patch_spec(sessionAffinity="ClientIP", loadBalancerSourceRanges=["192.0.2.0/24"])
    world.converge()


def remove_node(world):
    """Removes a member of two pools, and changes nothing else."""
    create(world)
    world.api.delete(NODES, "node-001")
    world.converge()


def disable_monitor(world):
    create(world)
    world.annotate(enable_health_monitor="false", keep_floatingip="false")
    world.converge()


def recreate_in_error(world):
    create(world)
    world.load_balancers.set_status(next(iter(world.load_balancers.by_id)), "ERROR")
    world.reconciler.forget("default/web")
    world.converge()


def make_internal(world):
    create(world)
    key = "service.beta.kubernetes.io/openstack-internal-load-balancer"
    world.api.patch(SERVICES, "default/web", {"metadata": {"annotations": {key: "true"}}})
    world.converge()


def share(world):
    """Deletes the Service that created the load balancer, which another Service uses too."""
    create(world)
    id = next(iter(world.load_balancers.by_id))
    second = service("other", {f"{PREFIX}load-balancer-id": id}, ports=((443, "TCP", 30443),))
    world.api.create(SERVICES, second)
    world.converge("other")
    world.api.delete(SERVICES, "default/web")
    world.converge()
    world.converge("other")


def delete(world):
    create(world)
    world.api.delete(SERVICES, "default/web")
    world.converge()


def delete_keeping_floating_ip(world):
    create(world)
    world.annotate(keep_floatingip="true")
    world.api.delete(SERVICES, "default/web")
    world.converge()


SCENARIOS = [
    create,
    update,
    remove_node,
    disable_monitor,
    recreate_in_error,
    make_internal,
    share,
    delete,
    delete_keeping_floating_ip,
]


def state(world):
    """The state without what differs between runs: ids, and addresses, which depend on the number of requests."""
    existing = world.load_balancers.by_id.values()
    ports = {load_balancer.port: load_balancer.name for load_balancer in existing}
    load_balancers = [
        (
            load_balancer.name,
            set(load_balancer.tags),
            load_balancer.provisioning_status,
            sorted(map(without_ids, load_balancer.listeners), key=str),
        )
        for load_balancer in existing
    ]
    floating_ips = [(ports.get(found.port, found.port), found.description) for found in world.network.floating.values()]
    ingress = [[sorted(entry) for entry in world.ingress(name)] for name in ("web", "other") if exists(world, name)]
    return load_balancers, floating_ips, world.open_ports(), ingress, world.load_balancers.orphaned


def exists(world, name):
    return world.api.get(SERVICES, f"default/{name}") is not None


def without_ids(listener):
    monitor = replace(listener.pool.monitor, id="") if listener.pool.monitor else None
    return replace(listener, id="", pool=replace(listener.pool, id="", monitor=monitor))


@pytest.mark.parametrize("provider", [OVN, AMPHORA], ids=["ovn", "amphora"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda f: f.__name__)
def test_process_killed_between_any_two_calls_reaches_same_state(scenario, provider):
    undisturbed = World(provider)
    scenario(undisturbed)
    calls = len(undisturbed.write_calls())
    assert calls >= 4
    for number in range(calls):
        world = World(provider)
        run_killed(world, scenario, number)
        assert state(world) == state(undisturbed), f"killed after {number} calls"
        delete_all(world)


def run_killed(world, scenario, number):
    """Runs the scenario with a process that is killed once, after `number` calls, and then restarted."""
    converge = world.converge
    world.call_budget.remaining = number

    def converge_despite_kill(name="web"):
        try:
            converge(name)
        except ProcessKilled:
            world.call_budget.remaining = None
            world.restart()
            converge(name)

    world.converge = converge_despite_kill
    scenario(world)
    world.converge = converge
    world.call_budget.remaining = None


def delete_all(world):
    kept = [found for found in world.network.floating.values() if not found.description]
    for name in ("web", "other"):
        if exists(world, name):
            world.delete(name)
    assert world.load_balancers.by_id == {}
    assert list(world.network.floating.values()) == kept
    assert world.network.security_group_rules == {}


@pytest.mark.parametrize("scenario", [create, update, recreate_in_error, share, delete], ids=lambda f: f.__name__)
def test_slow_octavia_reaches_same_state(scenario):
    undisturbed, slow = World(), World(pending_polls=7)
    scenario(undisturbed)
    scenario(slow)
    for id in slow.load_balancers.by_id:
        slow.load_balancers.set_status(id, "ACTIVE")
    assert state(slow) == state(undisturbed)
    delete_all(slow)


def test_changed_members_are_confirmed_once_load_balancer_is_active():
    world = World(pending_polls=7)
    create(world)
    world.api.delete(NODES, "node-001")
    assert world.reconcile() == 0.5
    assert world.load_balancer.pending
    world.clear_calls()
    world.converge()
    assert set(world.calls()) == {"status"}
    assert not world.load_balancer.pending
    world.clear_calls()
    assert world.converge() == 1
    assert world.calls() == []


def test_load_balancer_in_error_after_changed_members_is_recreated():
    world = World()
    create(world)
    before = world.load_balancer.id
    world.api.delete(NODES, "node-001")
    assert world.reconcile() == 0.5
    world.load_balancers.set_status(before, "ERROR")
    world.converge()
    assert (world.load_balancer.id != before, len(world.load_balancer.listeners)) == (True, 2)
    assert "RecreatingLoadBalancer" in world.reasons()


def test_deleted_pool_is_recreated_when_members_change():
    world = World()
    create(world)
    before = state(world)
    world.load_balancers.delete_pool(world.load_balancer.listeners[0].pool.id)
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {EXCLUDED: ""}}})
    world.converge()
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {EXCLUDED: None}}})
    world.converge()
    assert state(world) == before


def test_changed_members_wait_for_pending_load_balancer():
    world = World()
    create(world)
    world.load_balancers.set_status(world.load_balancer.id, "PENDING_UPDATE")
    world.api.delete(NODES, "node-001")
    assert world.reconcile() == 0.5
    world.load_balancers.set_status(world.load_balancer.id, "ACTIVE")
    world.converge()
    assert [len(listener.pool.members) for listener in world.load_balancer.listeners] == [1, 1]


def test_long_pending_load_balancer_frees_worker_and_records_event():
    world = World()
    create(world)
    world.load_balancers.set_status(world.load_balancer.id, "PENDING_UPDATE")
    world.set_ports((80, "TCP", 30080))
    delays = [world.reconcile() for _ in range(14)]
    assert all(delay is not None for delay in delays)
    assert delays == sorted(delays)
    assert delays[-1] == 10.0
    assert "LoadBalancerPending" in world.reasons()
    world.load_balancers.set_status(world.load_balancer.id, "ACTIVE")
    world.converge()
    assert [listener.port for listener in world.load_balancer.listeners] == [80]


def test_load_balancer_pending_by_another_client_is_waited_for():
    """Octavia answers 409, because the load balancer became PENDING after it was observed."""
    world = World()
    create(world)
    create_listener = world.load_balancers.create_listener
    calls = []

    def conflict_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            world.load_balancers.set_status(world.load_balancer.id, "PENDING_UPDATE")
            try:
                return create_listener(*arguments)
            finally:
                world.load_balancers.set_status(world.load_balancer.id, "ACTIVE")
        return create_listener(*arguments)

    world.load_balancers.create_listener = conflict_once
    world.set_ports(*TWO_PORTS, (443, "TCP", 30443))
    world.converge()
    assert len(calls) == 2
    assert len(world.load_balancer.listeners) == 3


def test_persistent_problem_is_retried_with_increasing_delay():
    """It is never given up."""
    world = World()
    world.load_balancers.quota = 0
    world.api.create(SERVICES, service())
    assert [world.reconcile() for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert {world.reconcile() for _ in range(2000)} == {30.0}
    world.load_balancers.quota = 100
    world.converge()
    world.load_balancers.unreachable = world.network.unreachable = "Octavia does not answer"
    world.set_ports((81, "TCP", 30080))
    assert world.reconcile() == FIRST_RETRY, "a success resets the delay"


@pytest.mark.parametrize("resource", ["load balancers", "floating IPs", "rules"])
def test_quota_exceeded_records_event_and_others_continue(resource):
    world = World()
    world.create_service("other", ports=((443, "TCP", 30443),))
    world.load_balancers.quota = 1 if resource == "load balancers" else 100
    world.network.floating_quota = 1 if resource == "floating IPs" else 100
    world.network.rule_quota = 1 if resource == "rules" else 100
    world.api.create(SERVICES, service())
    assert world.reconcile() == FIRST_RETRY
    reason, message = world.events()[-1]
    assert reason == "QuotaExceeded"
    assert "uota" in message
    world.set_ports((444, "TCP", 30443), name="other")
    assert world.converge("other") == 1
    world.load_balancers.quota = world.network.floating_quota = world.network.rule_quota = 100
    world.converge()
    assert world.ingress()
    world.delete("other")
    world.delete()
    assert world.is_empty()


def test_internal_address_in_use_records_event():
    world = World()
    world.load_balancers.used_addresses.add("10.0.0.77")
    annotations = {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}
    world.api.create(SERVICES, service(annotations=annotations, loadBalancerIP="10.0.0.77"))
    assert world.reconcile() == FIRST_RETRY
    assert world.events() == [("InUse", "IP address 10.0.0.77 already allocated in subnet subnet")]
    world.patch_spec(loadBalancerIP="10.0.0.78")
    world.converge()
    assert world.ingress()[0]["ip"] == "10.0.0.78"


def test_floating_ip_mapped_elsewhere_records_event_and_is_kept():
    world = World()
    world.network.floating["f"] = FloatingIP("f", "172.24.4.9", "another-port")
    world.api.create(SERVICES, service(loadBalancerIP="172.24.4.9"))
    assert world.reconcile() == FIRST_RETRY
    assert "is in use: it is mapped to the port another-port" in dict(world.events())["InUse"]
    assert world.floating_ip.port == "another-port"


def test_floating_address_without_permission_records_event():
    world = World()
    world.api.create(SERVICES, service(loadBalancerIP="172.24.4.10"))
    assert world.reconcile() == FIRST_RETRY
    assert "disallowed by policy" in dict(world.events())["Refused"]
    world.network.can_choose_address = True
    world.converge()
    assert world.ingress()[0]["ip"] == "172.24.4.10"


@pytest.mark.parametrize("port", ["load_balancers", "network"])
def test_unreachable_cloud_records_event_and_retries(port):
    world = World()
    world.api.create(SERVICES, service())
    getattr(world, port).unreachable = "no answer"
    assert world.reconcile() == FIRST_RETRY
    assert world.events() == [("SyncLoadBalancerFailed", "no answer")]
    getattr(world, port).unreachable = ""
    world.converge()
    assert world.ingress()


@pytest.mark.parametrize("number", range(3))
def test_lost_answer_creates_no_duplicates(number):
    world = World()
    world.api.create(SERVICES, service())
    names = ["create", "create_rule", "create_floating_ip"]
    port = world.load_balancers if number == 0 else world.network
    create = getattr(port, names[number])

    def create_without_answer(*arguments):
        create(*arguments)
        setattr(port, names[number], create)
        raise CloudUnreachable("the answer got lost")

    setattr(port, names[number], create_without_answer)
    assert world.reconcile() == FIRST_RETRY
    world.converge()
    assert (
        len(world.load_balancers.by_id) == len(world.network.floating) == len(world.network.security_group_rules) == 1
    )


def test_unreachable_kubernetes_api_raises_and_records_no_event():
    world = World()
    world.api.create(SERVICES, service())
    world.api.unreachable = "etcd has no leader"
    world.api.calls.clear()
    with pytest.raises(KubernetesUnreachable):
        world.reconcile()
    assert "create events" not in world.api.calls


def test_deletion_waits_for_unreachable_cloud():
    world = World()
    create(world)
    world.load_balancers.unreachable = "Octavia does not answer"
    world.api.delete(SERVICES, "default/web")
    assert world.reconcile() == FIRST_RETRY
    assert world.api.get(SERVICES, "default/web") is not None
    world.load_balancers.unreachable = ""
    world.converge()
    assert world.is_empty()


def test_rejected_service_keeps_resources_and_can_be_deleted():
    world = World()
    create(world)
    world.annotate(proxy_protocol="true")
    assert world.reconcile() == FIRST_RETRY
    assert "proxy-protocol is not supported" in dict(world.events())["Refused"]
    assert world.ingress()
    world.delete()
    assert world.is_empty()


def test_unknown_annotation_records_event_and_is_ignored():
    world = World()
    world.create_service(annotations={f"{PREFIX}flotaing-subnet": "a"})
    assert "flotaing-subnet is unknown" in dict(world.events())["AnnotationRefused"]
    assert world.ingress()


def test_local_traffic_without_ready_endpoints_has_no_members():
    world = World()
    world.api.create(ENDPOINT_SLICES, endpoints("web", 0, 1, ready=False))
    world.create_service(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    assert world.load_balancer.listeners[0].pool.members == ()


# The orphan collector.


def create_orphans(world, cluster="demo", name="deleted"):
    """Creates the resources of a Service that does not exist."""
    service_ref = ServiceRef(cluster, "default", name)
    load_balancer = world.load_balancers.create(LoadBalancer(service_ref.tag, "ovn", tags=service_ref.owned_tags()))
    world.network.create_floating_ip("public", "", load_balancer.port, service_ref.description)
    world.network.create_floating_ip("public", "", "", service_ref.description)
    world.network.create_rule(SecurityGroupRule("group", "tcp", 30999, "0.0.0.0/0", service_ref.description))


def test_collector_deletes_only_orphans():
    world = World()
    world.create_service()
    before = state(world)
    create_orphans(world)
    assert world.collector.reconcile("all") == 60.0
    assert state(world) == before
    assert world.woken == []


def test_collector_releases_floating_ip_to_be_kept():
    world = World()
    service_ref = ServiceRef("demo", "default", "deleted")
    world.network.create_floating_ip("public", "", "", service_ref.floating_ip_description(keep=True))
    world.collector.reconcile("all")
    assert (world.floating_ip.port, world.floating_ip.description) == ("", "")


@pytest.mark.parametrize("cluster", ["dem", "demo_2", "demo-2", "demo, Service x"])
def test_collector_keeps_resources_of_other_clusters(cluster):
    world = World()
    create_orphans(world, cluster)
    world.network.create_floating_ip("public", "", "", "of a user")
    before = state(world)
    world.collector.reconcile("all")
    assert state(world) == before


def test_collector_removes_deleted_service_from_shared_load_balancer():
    world = World()
    share_with_deleted_service(world)
    world.collector.reconcile("all")
    assert [listener.port for listener in world.load_balancer.listeners] == [80]
    assert set(world.load_balancer.tags) == {ServiceRef("demo", "default", "web").tag, cluster_tag("demo")}


def share_with_deleted_service(world):
    world.create_service()
    other = service("other", {f"{PREFIX}load-balancer-id": world.load_balancer.id}, ports=((443, "TCP", 30443),))
    world.api.create(SERVICES, other)
    world.converge("other")
    world.api.patch(SERVICES, "default/other", {"metadata": {"finalizers": []}})
    world.api.delete(SERVICES, "default/other")
    world.sync_caches()


def test_collector_with_stale_cache_checks_api():
    world = World()
    world.create_service()
    world.services.drop("default/web")
    world.collector.reconcile("all")
    assert world.load_balancer.provisioning_status == "ACTIVE"
    assert world.floating_ip.port == world.load_balancer.port


def test_collector_without_orphans_makes_three_calls():
    world = World()
    for number in range(3):
        world.create_service(f"s{number}", ports=((80, "TCP", 30000 + number),))
    world.clear_calls()
    world.collector.reconcile("all")
    assert world.calls() == ["tagged", "floating_ips", "rules"]


def test_collector_with_unreachable_network_deletes_nothing():
    world = World()
    create_orphans(world)
    world.network.unreachable = "Neutron does not answer"
    with pytest.raises(CloudUnreachable):
        world.collector.reconcile("all")
    assert len(world.load_balancers.by_id) == 1


def test_plan_garbage_collection_without_api_deletes_all_of_cluster():
    world = World()
    world.create_service()
    create_orphans(world, "another", "web")
    owned = list_owned("demo", world.load_balancers, world.network, "group")
    world.executor.execute(plan_garbage_collection(owned, lambda key: False))
    assert [load_balancer.name for load_balancer in world.load_balancers.by_id.values()] == [
        "kube_service_another_default_web"
    ]
    assert {found.description for found in world.network.floating.values()} == {
        ServiceRef("another", "default", "web").description
    }
    assert (
        list(plan_garbage_collection(list_owned("demo", world.load_balancers, world.network, ""), lambda key: False))
        == []
    )


def test_plan_garbage_collection_without_resources_is_empty():
    assert list(plan_garbage_collection(OwnedObjects("demo", (), (), ()), lambda key: False)) == []
