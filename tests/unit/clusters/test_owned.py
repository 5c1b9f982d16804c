"""Which owned resources are deleted, which are kept, and in which order, as tables: the pure half of a deletion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.port.load_balancers import Listener, LoadBalancer, Pool
from moorage.cloud.port.network import FloatingIP, NetworkResource, Port
from moorage.cloud.port.servers import Server
from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume, VolumeAttachment
from moorage.clusters.deletion import infrastructure
from moorage.clusters.deletion.load_balancers import plan_load_balancers
from moorage.clusters.deletion.resources import MAX_REQUESTS, BalancedResources, StoredResources
from moorage.clusters.deletion.storage import plan_retention, plan_storage
from moorage.model.ownership import (
    CLUSTER_MARK,
    RECLAIM_MARK,
    cluster_tag,
    former_description,
    service_description,
    service_tag,
    serving_tag,
)

pytestmark = pytest.mark.unit

MINE = {CLUSTER_MARK: "demo"}
RETAINED = {**MINE, RECLAIM_MARK: "Retain"}
CONTROL = Server("s-0", "demo-control-plane-0", "ACTIVE", metadata={"moorage_role": "control-plane"})
WORKER = Server("s-1", "demo-workers-1-0", "ACTIVE", metadata={"moorage_role": "worker"})


def web(**messages):
    tags = (service_tag("demo", "default", "web"), cluster_tag("demo"))
    usual = {"name": tags[0], "tags": tags, "id": "lb", "port": "vip", "provisioning_status": "ACTIVE"}
    return LoadBalancer(**{**usual, **messages})


def theirs(**messages):
    tags = ("other", service_tag("demo", "default", "web"), serving_tag("demo"))
    listeners = (
        Listener("l", "TCP", 22, tags=("other",), id="l-1"),
        Listener("m", "TCP", 80, Pool("p", "TCP", "SOURCE_IP", id="p-2"), (tags[1],), id="l-2"),
    )
    usual = {"name": "theirs", "tags": tags, "id": "lb-2", "listeners": listeners, "provisioning_status": "ACTIVE"}
    return LoadBalancer(**{**usual, **messages})


def volume(id="v", status="available", metadata=MINE, at=(), **messages):
    attachments = tuple(VolumeAttachment(f"a-{server}", server) for server in at)
    return CinderVolume(id, f"pvc-{id}", 1, status, metadata=metadata, attachments=attachments, **messages)


def snapshot(id="s", of="v", status="available", metadata=MINE):
    return CinderSnapshot(id, f"snapshot-{id}", of, 1, status, metadata)


def deletions(clearing):
    return [(act.action, act.id) for act in clearing.deletions]


def network(asked=(), **found):
    return plan_load_balancers(BalancedResources("demo", **found), dict(asked))


def storage(*items, asked=(), keep=False, **messages):
    volumes = tuple(item for item in items if isinstance(item, CinderVolume))
    snapshots = tuple(item for item in items if isinstance(item, CinderSnapshot))
    made = StoredResources(
        "demo", **{"servers": {WORKER.id: WORKER.name}, "volumes": volumes, "snapshots": snapshots, **messages}
    )
    return plan_retention(made, keep, dict(asked)), plan_storage(made, keep, dict(asked))


def test_plan_without_resources_is_empty():
    assert network().done
    assert all(clearing.done for clearing in storage())


def test_plan_deletes_floating_ip_before_load_balancer():
    address = FloatingIP("f", "172.24.4.9", "vip", service_description("demo", "default/web"))
    clearing = network(load_balancers=(web(),), floating=(address,))
    assert deletions(clearing) == [("delete floating IP", "f"), ("delete load balancer", "lb")]
    assert [(item.kind, item.claim) for item in clearing.deleted] == [
        ("floating IP", "default/web"),
        ("load balancer", "default/web"),
    ]


def test_plan_waits_for_pending_load_balancer():
    plan = network({"lb": 1}, load_balancers=(web(provisioning_status="PENDING_DELETE"),))
    assert deletions(plan) == []
    assert "waiting for Octavia" in plan.waiting[0]


def test_plan_servers_requests_again_what_a_service_lost():
    plan = infrastructure.plan_servers([CONTROL, WORKER], {"s-0"})
    assert deletions(plan) == [("delete server", "s-1")]
    assert len(infrastructure.plan_servers([CONTROL], {"s-0"}).waiting) == 1
    assert infrastructure.plan_servers([], ()).done


def test_plan_ports_keeps_those_of_neutron_and_load_balancers():
    owners = ["compute:nova", "", "network:router_interface", "network:dhcp", "Octavia", "ovn-lb-hm:distributed"]
    ports = [Port(f"p-{number}", owner, "device") for number, owner in enumerate(owners)]
    plan = infrastructure.plan_ports("demo", ports, {})
    assert deletions(plan) == [("delete port", "p-0"), ("delete port", "p-1")]


def test_plan_ports_detaches_the_router_last():
    owners = ["network:router_interface", "network:dhcp", "Octavia"]
    plan = infrastructure.plan_ports("demo", [Port(owner, owner, "device") for owner in owners], {})
    assert deletions(plan) == [("detach port", "network:router_interface")]
    assert plan.deletions[0].detail == ("device",)


def test_plan_ports_of_foreign_server_is_blocked():
    plan = infrastructure.plan_ports("demo", [Port("p", "compute:nova", "x"), Port("q")], {"x": "theirs"})
    assert deletions(plan) == []
    assert plan.blocked == ("server theirs, which is not the cluster's, has a port in its network",)


def test_plan_network_in_order_that_neutron_accepts():
    kinds = ["network", "security group", "floating IP", "router"]
    plan = infrastructure.plan_network([NetworkResource(kind, kind[0]) for kind in kinds])
    assert [deletion.detail[0] for deletion in plan.deletions] == ["floating IP", "router", "network", "security group"]


def test_plan_load_balancer_in_error_is_deleted_then_blocked():
    broken = (web(provisioning_status="ERROR"),)
    assert ("delete load balancer", "lb") in deletions(network({"lb": MAX_REQUESTS - 1}, load_balancers=broken))
    assert "could not delete load balancer" in network({"lb": MAX_REQUESTS}, load_balancers=broken).blocked[0]
    assert network({"lb": MAX_REQUESTS}, load_balancers=(web(),)).blocked == (), "OVN may set it to ACTIVE again"


def test_plan_shared_load_balancer_is_blocked():
    shared = web(tags=(*web().tags, service_tag("demo_2", "default", "web")))
    assert "kube_service_demo_2_default_web" in network(load_balancers=(shared,)).blocked[0]
    among_us = web(tags=(*web().tags, service_tag("demo", "default", "other")))
    assert network(load_balancers=(among_us,)).blocked == ()


@pytest.mark.parametrize(
    ("held", "goes"),
    [
        (FloatingIP("f", "a", "", service_description("demo", "default/gone")), True),
        (FloatingIP("f", "a", "vip", former_description("demo", "default/web")), True),
        (FloatingIP("f", "a", "elsewhere", former_description("demo", "default/web")), False),
        (FloatingIP("f", "a", "", former_description("demo", "default/web")), False),
        (FloatingIP("f", "a", "vip", service_description("demo-2", "default/web")), False),
        (FloatingIP("f", "a", "vip", "of a person"), False),
        (FloatingIP("f", "a", "vip", "Moorage cluster demo"), False),
    ],
    ids=["own", "formerly", "formerly-elsewhere", "formerly-free", "another-cluster", "a-person", "the-stack's"],
)
def test_plan_floating_ip_by_owner(held, goes):
    assert (("delete floating IP", "f") in deletions(network(load_balancers=(web(),), floating=(held,)))) == goes


def test_plan_kept_floating_ip_is_released():
    address = FloatingIP("f", "172.24.4.9", "vip", service_description("demo", "default/web", kept=True))
    clearing = network(load_balancers=(web(),), floating=(address,))
    assert deletions(clearing) == [("release floating IP", "f"), ("delete load balancer", "lb")]
    assert [item.name for item in clearing.kept] == ["172.24.4.9"]
    assert "172.24.4.9" not in {item.name for item in clearing.deleted}


def test_plan_foreign_load_balancer_is_left_step_by_step():
    steps, found = [], theirs()
    while (act := network(shared=(found,)).deletions)[0].action != "set tags":
        steps.append(deletions(network(shared=(found,))))
        own = found.listeners[1]
        kept = (replace(own, pool=None),) if own.pool else ()
        found = replace(found, listeners=(found.listeners[0], *kept))
    assert steps == [[("delete pool", "p-2")], [("delete listener", "l-2")]]
    assert act[0].detail == ("other",)
    assert network(shared=(theirs(provisioning_status="PENDING_UPDATE"),)).waiting


def test_plan_foreign_load_balancer_in_error_is_kept():
    clearing = network(shared=(theirs(provisioning_status="ERROR"),))
    assert clearing.done
    assert "in ERROR" in clearing.kept[0].why


def test_plan_volume_after_snapshots_and_derived_volumes():
    one, two, three = volume("v"), volume("w", snapshot="s"), volume("x", source="v")
    _, clearing = storage(one, two, three, snapshot("s", "v"))
    assert deletions(clearing) == [("delete volume", "w"), ("delete volume", "x")]
    assert len(clearing.waiting) == 2
    _, clearing = storage(one, snapshot("s", "v"))
    assert deletions(clearing) == [("delete snapshot", "s")]
    _, clearing = storage(one, snapshot("s", "v", "deleting"))
    assert (deletions(clearing), len(clearing.waiting)) == ([], 2)
    assert deletions(storage(one)[1]) == [("delete volume", "v")]


@pytest.mark.parametrize("status", ["creating", "deleting", "detaching", "in-use"])
def test_plan_waits_for_busy_volume(status):
    _, clearing = storage(volume(status=status))
    assert (deletions(clearing), clearing.blocked) == ([], ())
    assert status in clearing.waiting[0]


def test_plan_releases_volume_of_deleted_server():
    _, clearing = storage(volume(status="in-use", at=["s-1"]))
    assert clearing.waiting[0] == "waiting for server demo-workers-1-0 to release volume pvc-v (1 GiB)"
    _, clearing = storage(volume(status="in-use", at=["s-9"]), missing_servers=frozenset(["s-9"]))
    assert deletions(clearing) == [("delete attachment", "a-s-9")]
    _, clearing = storage(
        volume(status="attaching", at=["s-9"]), asked={"a-s-9": MAX_REQUESTS}, missing_servers=frozenset(["s-9"])
    )
    assert (deletions(clearing), len(clearing.waiting)) == ([], 1)


@pytest.mark.parametrize(
    ("items", "kept", "why"),
    [
        ([volume(metadata=RETAINED)], {"v"}, "its policy is Retain"),
        ([volume(), snapshot(metadata=RETAINED)], {"v", "s"}, "its snapshot snapshot-s is kept"),
        ([volume(metadata=RETAINED), snapshot()], {"v"}, "its policy is Retain"),
        ([volume(), snapshot(metadata={})], {"v"}, "its snapshot snapshot-s is kept"),
        (
            [volume(status="in-use", at=["stranger"])],
            {"v"},
            "it is attached to server stranger, which is not the cluster's",
        ),
        ([volume(metadata={**MINE, RECLAIM_MARK: "Delete"})], set(), ""),
    ],
    ids=["volume", "snapshot", "volume-not-its-snapshot", "a-person's-snapshot", "a-person's-server", "no-more"],
)
def test_plan_kept_volumes_and_reasons(items, kept, why):
    keeping, clearing = storage(*items)
    assert {item.id for item in keeping.kept} == kept
    assert {item.id for item in clearing.deleted} == {item.id for item in items if item.metadata} - kept
    assert why in {item.why for item in keeping.kept} | {""}
    unmarked = {item.id for item in items if item.id in kept and RECLAIM_MARK not in item.metadata}
    assert {id for _, id in deletions(keeping)} == unmarked, "a later cluster of that name must not delete it"


def test_plan_keep_keeps_all():
    keeping, clearing = storage(volume("v"), volume("w", metadata=RETAINED), snapshot(), keep=True)
    assert {(item.id, item.why) for item in keeping.kept} == {(id, "as requested") for id in "vws"}
    assert deletions(keeping) == [("keep snapshot", "s"), ("keep volume", "v")]
    assert clearing.done


def test_plan_unmarkable_volume_is_blocked():
    keeping, _ = storage(volume(status="maintenance"), keep=True, asked={"v": MAX_REQUESTS})
    assert (deletions(keeping), len(keeping.blocked)) == ([], 1)


def test_plan_undeletable_volume_is_reported_and_others_deleted():
    _, clearing = storage(volume(status="error_deleting"), volume("w"), messages={"v": "backend is full"})
    assert deletions(clearing) == [("delete volume", "w")]
    assert clearing.blocked == ("volume pvc-v (1 GiB) cannot be deleted, it is error_deleting: backend is full",)
    _, clearing = storage(volume(), asked={"v": MAX_REQUESTS})
    assert len(clearing.blocked) == 1


def test_plan_does_not_wait_for_undeletable():
    _, clearing = storage(volume(), snapshot(status="error_deleting"))
    assert deletions(clearing) == [("delete volume", "v")]
    _, clearing = storage(volume(), snapshot(status="error_deleting"), asked={"v": MAX_REQUESTS})
    assert (deletions(clearing), clearing.waiting, len(clearing.blocked)) == ([], (), 2)


def test_claim_of_volume():
    claim = {"csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "shop"}
    taken = {"csi.storage.k8s.io/volumesnapshot/name": "daily", "csi.storage.k8s.io/volumesnapshot/namespace": "shop"}
    keeping, _ = storage(volume(metadata=RETAINED | claim), snapshot(metadata=RETAINED | taken))
    assert [str(item) for item in keeping.kept] == [
        "snapshot snapshot-s (1 GiB, of shop/daily): its policy is Retain",
        "volume pvc-v (1 GiB, of shop/data): its policy is Retain",
    ]
