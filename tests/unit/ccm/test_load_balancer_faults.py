"""Load balancers when we die between any two calls of the cloud, and when the cloud refuses or is away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from load_balancing import PREFIX, Killed, World, endpoints, service
from moorage.ccm.load_balancers.garbage_collect import OwnedObjects, list_owned, plan_garbage_collection
from moorage.ccm.load_balancers.names import ServiceRef
from moorage.ccm.load_balancers.reconcile import FIRST_RETRY
from moorage.ccm.load_balancers.settings import AMPHORA, OVN
from moorage.ccm.load_balancers.views import EXCLUDED
from moorage.cloud.load_balancers import LoadBalancer
from moorage.cloud.network import FloatingIP, SecurityGroupRule
from moorage.kube.objects import ENDPOINT_SLICES, NODES, SERVICES
from moorage.model.errors import CloudUnreachable
from moorage.model.ownership import cluster_tag

pytestmark = pytest.mark.unit

TWO = ((80, "TCP", 30080), (53, "UDP", 30053))
MONITORED = {f"{PREFIX}enable-health-monitor": "true"}


def create(world):
    world.api.create(SERVICES, service(annotations=MONITORED, ports=TWO))
    world.settle()


def update(world):
    """Another port, another node port, no UDP, other members, other limits, another monitor."""
    create(world)
    world.ports((80, "TCP", 31080), (443, "TCP", 30443))
    world.api.delete(NODES, "node-001")
    world.annotate(health_monitor_delay="8")
    world.spec(sessionAffinity="ClientIP", loadBalancerSourceRanges=["192.0.2.0/24"])
    world.settle()


def shrink(world):
    """Fewer members of two pools, and nothing else."""
    create(world)
    world.api.delete(NODES, "node-001")
    world.settle()


def unwatch(world):
    create(world)
    world.annotate(enable_health_monitor="false", keep_floatingip="false")
    world.settle()


def error(world):
    create(world)
    world.load_balancers.becomes(next(iter(world.load_balancers.held)), "ERROR")
    world.reconciler.forget("default/web")
    world.settle()


def internal(world):
    create(world)
    key = "service.beta.kubernetes.io/openstack-internal-load-balancer"
    world.api.patch(SERVICES, "default/web", {"metadata": {"annotations": {key: "true"}}})
    world.settle()


def share(world):
    """The Service that made the load balancer leaves it to another."""
    create(world)
    id = next(iter(world.load_balancers.held))
    other = service("other", {f"{PREFIX}load-balancer-id": id}, ports=((443, "TCP", 30443),))
    world.api.create(SERVICES, other)
    world.settle("other")
    world.api.delete(SERVICES, "default/web")
    world.settle()
    world.settle("other")


def delete(world):
    create(world)
    world.api.delete(SERVICES, "default/web")
    world.settle()


def delete_kept(world):
    create(world)
    world.annotate(keep_floatingip="true")
    world.api.delete(SERVICES, "default/web")
    world.settle()


def state(world):
    """Without what differs from run to run: ids, and the addresses that hang on how often one was asked for."""
    found = world.load_balancers.held.values()
    ports = {load_balancer.port: load_balancer.name for load_balancer in found}
    load_balancers = [
        (
            load_balancer.name,
            set(load_balancer.tags),
            load_balancer.provisioning_status,
            sorted(map(bare, load_balancer.listeners), key=str),
        )
        for load_balancer in found
    ]
    floating = [(ports.get(found.port, found.port), found.description) for found in world.network.floating.values()]
    shown = [[sorted(entry) for entry in world.shown(name)] for name in ("web", "other") if key(world, name)]
    return load_balancers, floating, world.open_to(), shown, world.load_balancers.orphaned


def key(world, name):
    return world.api.get(SERVICES, f"default/{name}")


def bare(listener):
    monitor = replace(listener.pool.monitor, id="") if listener.pool.monitor else None
    return replace(listener, id="", pool=replace(listener.pool, id="", monitor=monitor))


@pytest.mark.parametrize("provider", [OVN, AMPHORA], ids=["ovn", "amphora"])
@pytest.mark.parametrize(
    "scenario", [create, update, shrink, unwatch, error, internal, share, delete, delete_kept], ids=lambda f: f.__name__
)
def test_reconcile_killed_anywhere_reaches_same_state(scenario, provider):
    whole = World(provider)
    scenario(whole)
    calls = len(whole.changes())
    assert calls >= 4
    for number in range(calls):
        world = World(provider)
        cut(world, scenario, number)
        assert state(world) == state(whole), f"killed after {number} calls"
        take_all_away(world)


def cut(world, scenario, number):
    """Run it with a program that dies after so many calls, each time it is started for the next part of it."""
    settle = world.settle
    world.life.left = number

    def mortal(name="web"):
        try:
            settle(name)
        except Killed:
            world.life.left = None
            world.restart()
            settle(name)

    world.settle = mortal
    scenario(world)
    world.settle = settle
    world.life.left = None


def take_all_away(world):
    kept = [found for found in world.network.floating.values() if not found.description]
    for name in ("web", "other"):
        if key(world, name):
            world.delete(name)
    assert world.load_balancers.held == {}
    assert list(world.network.floating.values()) == kept
    assert world.network.let_in == {}


@pytest.mark.parametrize("scenario", [create, update, error, share, delete], ids=lambda f: f.__name__)
def test_reconcile_with_slow_octavia(scenario):
    whole, slow = World(), World(settle=7)
    scenario(whole)
    scenario(slow)
    for id in slow.load_balancers.held:
        slow.load_balancers.becomes(id, "ACTIVE")
    assert state(slow) == state(whole)
    take_all_away(slow)


def test_new_members_are_applied_when_active():
    world = World(settle=7)
    create(world)
    world.api.delete(NODES, "node-001")
    assert world.turn() == 0.5
    assert world.only.pending
    world.forget_calls()
    world.settle()
    assert set(world.calls()) == {"status"}
    assert not world.only.pending
    world.forget_calls()
    assert world.settle() == 1
    assert world.calls() == []


def test_error_after_new_members_recreates_load_balancer():
    world = World()
    create(world)
    before = world.only.id
    world.api.delete(NODES, "node-001")
    assert world.turn() == 0.5
    world.load_balancers.becomes(before, "ERROR")
    world.settle()
    assert (world.only.id != before, len(world.only.listeners)) == (True, 2)
    assert "RecreatingLoadBalancer" in world.reasons()


def test_deleted_pool_is_recreated_when_members_change():
    world = World()
    create(world)
    before = state(world)
    world.load_balancers.delete_pool(world.only.listeners[0].pool.id)
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {EXCLUDED: ""}}})
    world.settle()
    world.api.patch(NODES, "node-001", {"metadata": {"labels": {EXCLUDED: None}}})
    world.settle()
    assert state(world) == before


def test_new_members_wait_while_pending():
    world = World()
    create(world)
    world.load_balancers.becomes(world.only.id, "PENDING_UPDATE")
    world.api.delete(NODES, "node-001")
    assert world.turn() == 0.5
    world.load_balancers.becomes(world.only.id, "ACTIVE")
    world.settle()
    assert [len(held.pool.members) for held in world.only.listeners] == [1, 1]


def test_pending_load_balancer_frees_worker_and_is_reported():
    world = World()
    create(world)
    world.load_balancers.becomes(world.only.id, "PENDING_UPDATE")
    world.ports((80, "TCP", 30080))
    pauses = [world.turn() for _ in range(14)]
    assert all(pause is not None for pause in pauses)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10.0
    assert "LoadBalancerPending" in world.reasons()
    world.load_balancers.becomes(world.only.id, "ACTIVE")
    world.settle()
    assert [held.port for held in world.only.listeners] == [80]


def test_concurrent_change_is_waited_for():
    """Octavia answers 409: its load balancer became PENDING after we looked."""
    world = World()
    create(world)
    act = world.load_balancers.create_listener
    calls = []

    def first_refused(*words):
        calls.append(words)
        if len(calls) == 1:
            world.load_balancers.becomes(world.only.id, "PENDING_UPDATE")
            try:
                return act(*words)
            finally:
                world.load_balancers.becomes(world.only.id, "ACTIVE")
        return act(*words)

    world.load_balancers.create_listener = first_refused
    world.ports(*TWO, (443, "TCP", 30443))
    world.settle()
    assert len(calls) == 2
    assert len(world.only.listeners) == 3


def test_conflict_is_retried_with_growing_delays():
    """It is looked for soon, and ever more seldom, but always."""
    world = World()
    world.load_balancers.quota = 0
    world.api.create(SERVICES, service())
    assert [world.turn() for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert {world.turn() for _ in range(2000)} == {30.0}
    world.load_balancers.quota = 100
    world.settle()
    world.load_balancers.unreachable = world.network.unreachable = "Octavia does not answer"
    world.ports((81, "TCP", 30080))
    assert world.turn() == FIRST_RETRY, "what was in the way before is forgotten"


@pytest.mark.parametrize("which", ["load balancers", "floating IPs", "rules"])
def test_quota_is_reported_and_others_continue(which):
    world = World()
    world.make("other", ports=((443, "TCP", 30443),))
    world.load_balancers.quota = 1 if which == "load balancers" else 100
    world.network.floating_quota = 1 if which == "floating IPs" else 100
    world.network.rule_quota = 1 if which == "rules" else 100
    world.api.create(SERVICES, service())
    assert world.turn() == FIRST_RETRY
    reason, message = world.events()[-1]
    assert reason == "QuotaExceeded"
    assert "uota" in message
    world.ports((444, "TCP", 30443), name="other")
    assert world.settle("other") == 1
    world.load_balancers.quota = world.network.floating_quota = world.network.rule_quota = 100
    world.settle()
    assert world.shown()
    world.delete("other")
    world.delete()
    assert world.empty()


def test_used_address_is_reported():
    world = World()
    world.load_balancers.taken.add("10.0.0.77")
    annotations = {"service.beta.kubernetes.io/openstack-internal-load-balancer": "true"}
    world.api.create(SERVICES, service(annotations=annotations, loadBalancerIP="10.0.0.77"))
    assert world.turn() == FIRST_RETRY
    assert world.events() == [("InUse", "IP address 10.0.0.77 already allocated in subnet subnet")]
    world.spec(loadBalancerIP="10.0.0.78")
    world.settle()
    assert world.shown()[0]["ip"] == "10.0.0.78"


def test_floating_ip_in_use_is_reported_and_kept():
    world = World()
    world.network.floating["f"] = FloatingIP("f", "172.24.4.9", "another-port")
    world.api.create(SERVICES, service(loadBalancerIP="172.24.4.9"))
    assert world.turn() == FIRST_RETRY
    assert "is in use: it is associated with the port another-port" in dict(world.events())["InUse"]
    assert world.floating.port == "another-port"


def test_forbidden_address_is_reported():
    world = World()
    world.api.create(SERVICES, service(loadBalancerIP="172.24.4.10"))
    assert world.turn() == FIRST_RETRY
    assert "disallowed by policy" in dict(world.events())["Refused"]
    world.network.choosing = True
    world.settle()
    assert world.shown()[0]["ip"] == "172.24.4.10"


@pytest.mark.parametrize("port", ["load_balancers", "network"])
def test_unreachable_cloud_is_reported_and_waited_for(port):
    world = World()
    world.api.create(SERVICES, service())
    getattr(world, port).unreachable = "it does not answer"
    assert world.turn() == FIRST_RETRY
    assert world.events() == [("SyncLoadBalancerFailed", "it does not answer")]
    getattr(world, port).unreachable = ""
    world.settle()
    assert world.shown()


@pytest.mark.parametrize("number", range(3))
def test_cloud_unreachable_midway_is_resumed(number):
    world = World()
    world.api.create(SERVICES, service())
    names = ["create", "create_rule", "create_floating_ip"]
    port = world.load_balancers if number == 0 else world.network
    made = getattr(port, names[number])

    def lost(*words):
        made(*words)
        setattr(port, names[number], made)
        raise CloudUnreachable("the answer got lost")

    setattr(port, names[number], lost)
    assert world.turn() == FIRST_RETRY
    world.settle()
    assert len(world.load_balancers.held) == len(world.network.floating) == len(world.network.let_in) == 1


def test_deletion_waits_for_unreachable_cloud():
    world = World()
    create(world)
    world.load_balancers.unreachable = "Octavia does not answer"
    world.api.delete(SERVICES, "default/web")
    assert world.turn() == FIRST_RETRY
    assert world.api.get(SERVICES, "default/web") is not None
    world.load_balancers.unreachable = ""
    world.settle()
    assert world.empty()


def test_rejected_service_keeps_state_and_can_be_deleted():
    world = World()
    create(world)
    world.annotate(proxy_protocol="true")
    assert world.turn() == FIRST_RETRY
    assert "proxy-protocol cannot be honoured" in dict(world.events())["Refused"]
    assert world.shown()
    world.delete()
    assert world.empty()


def test_unknown_annotation_is_reported_and_ignored():
    world = World()
    world.make(annotations={f"{PREFIX}flotaing-subnet": "a"})
    assert "flotaing-subnet is not known" in dict(world.events())["AnnotationRefused"]
    assert world.shown()


def test_unready_endpoints_get_no_local_traffic():
    world = World()
    world.api.create(ENDPOINT_SLICES, endpoints("web", 0, 1, ready=False))
    world.make(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    assert world.only.listeners[0].pool.members == ()


# The sweep.


def surplus(world, cluster="demo", name="gone"):
    """What a Service that nobody knows has left behind."""
    service_ref = ServiceRef(cluster, "default", name)
    made = world.load_balancers.create(LoadBalancer(service_ref.tag, "ovn", tags=service_ref.tags()))
    world.network.create_floating_ip("public", "", made.port, service_ref.description)
    world.network.create_floating_ip("public", "", "", service_ref.description)
    world.network.create_rule(SecurityGroupRule("group", "tcp", 30999, "0.0.0.0/0", service_ref.description))


def test_garbage_collection_deletes_orphans_only():
    world = World()
    world.make()
    kept = state(world)
    surplus(world)
    assert world.sweeper.reconcile("all") == 60.0
    assert state(world) == kept
    assert world.woken == []


def test_garbage_collection_releases_kept_floating_ip():
    world = World()
    service_ref = ServiceRef("demo", "default", "gone")
    world.network.create_floating_ip("public", "", "", service_ref.described(keep=True))
    world.sweeper.reconcile("all")
    assert (world.floating.port, world.floating.description) == ("", "")


@pytest.mark.parametrize("cluster", ["dem", "demo_2", "demo-2", "demo, Service x"])
def test_garbage_collection_ignores_other_clusters(cluster):
    world = World()
    surplus(world, cluster)
    world.network.create_floating_ip("public", "", "", "of a person")
    before = state(world)
    world.sweeper.reconcile("all")
    assert state(world) == before


def test_garbage_collection_removes_deleted_service_from_shared_load_balancer():
    world = World()
    share_with_the_dead(world)
    world.sweeper.reconcile("all")
    assert [held.port for held in world.only.listeners] == [80]
    assert set(world.only.tags) == {ServiceRef("demo", "default", "web").tag, cluster_tag("demo")}


def share_with_the_dead(world):
    world.make()
    other = service("other", {f"{PREFIX}load-balancer-id": world.only.id}, ports=((443, "TCP", 30443),))
    world.api.create(SERVICES, other)
    world.settle("other")
    world.api.patch(SERVICES, "default/other", {"metadata": {"finalizers": []}})
    world.api.delete(SERVICES, "default/other")
    world.watch()


def test_garbage_collection_checks_the_api():
    world = World()
    world.make()
    world.services.drop("default/web")
    world.sweeper.reconcile("all")
    assert world.only.provisioning_status == "ACTIVE"
    assert world.floating.port == world.only.port


def test_garbage_collection_costs_three_calls():
    world = World()
    for number in range(3):
        world.make(f"s{number}", ports=((80, "TCP", 30000 + number),))
    world.forget_calls()
    world.sweeper.reconcile("all")
    assert world.calls() == ["tagged", "floating_ips", "rules"]


def test_garbage_collection_with_unreachable_cloud_deletes_nothing():
    world = World()
    surplus(world)
    world.network.unreachable = "Neutron does not answer"
    with pytest.raises(CloudUnreachable):
        world.sweeper.reconcile("all")
    assert len(world.load_balancers.held) == 1


def test_owned_resources_are_found_without_api():
    world = World()
    world.make()
    surplus(world, "another", "web")
    made = list_owned("demo", world.load_balancers, world.network, "group")
    world.executor.execute(plan_garbage_collection(made, lambda key: False))
    assert [load_balancer.name for load_balancer in world.load_balancers.held.values()] == [
        "kube_service_another_default_web"
    ]
    assert {found.description for found in world.network.floating.values()} == {
        ServiceRef("another", "default", "web").description
    }
    assert (
        list(plan_garbage_collection(list_owned("demo", world.load_balancers, world.network, ""), lambda key: False))
        == []
    )


def test_garbage_collection_without_resources_is_empty():
    assert list(plan_garbage_collection(OwnedObjects("demo", (), (), ()), lambda key: False)) == []
