"""Which owned resources are deleted, which are kept, and in which order, as tables: the pure half of a deletion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.port.load_balancers import Listener, LoadBalancer, Pool
from moorage.cloud.port.network import FloatingIP
from moorage.cloud.port.servers import Server
from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume, VolumeAttachment
from moorage.clusters.owned.network import plan_network
from moorage.clusters.owned.resources import MAX_REQUESTS, ObservedResources
from moorage.clusters.owned.storage import plan_retention, plan_storage
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
WORKER = Server("s-1", "demo-default-worker-0", "ACTIVE", metadata={"moorage_role": "worker"})


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
    return [(type(act).__name__, act.id) for act in clearing.deletions]


def network(asked=(), **found):
    return plan_network(ObservedResources("demo", servers=(CONTROL, WORKER), **found), dict(asked))


def storage(*items, asked=(), keep=False, **messages):
    volumes = tuple(item for item in items if isinstance(item, CinderVolume))
    snapshots = tuple(item for item in items if isinstance(item, CinderSnapshot))
    made = ObservedResources("demo", **{"servers": (WORKER,), "volumes": volumes, "snapshots": snapshots, **messages})
    return plan_retention(made, keep, dict(asked)), plan_storage(made, keep, dict(asked))


def test_plan_without_resources_is_empty():
    assert network().done
    assert all(clearing.done for clearing in storage())


def test_plan_stops_control_plane_before_load_balancer():
    address = FloatingIP("f", "172.24.4.9", "vip", service_description("demo", "default/web"))
    clearing = network(load_balancers=(web(),), floating=(address,))
    assert deletions(clearing) == [("DeleteServer", "s-0"), ("DeleteFloatingIP", "f"), ("DeleteLoadBalancer", "lb")]
    assert [(item.kind, item.claim) for item in clearing.deleted] == [
        ("floating IP", "default/web"),
        ("load balancer", "default/web"),
    ]


def test_plan_waits_for_pending_load_balancer_and_control_plane():
    clearing = network({"s-0": 1, "lb": 1}, load_balancers=(web(provisioning_status="PENDING_DELETE"),))
    assert deletions(clearing) == []
    assert clearing.waiting[0] == "waiting for Nova to delete server demo-control-plane-0"
    assert "waiting for Octavia" in clearing.waiting[1]
    assert network({"s-0": 1}).waiting, "it could make another one as long as it runs"
    assert network().done, "but it is not stopped where it has made none"


def test_plan_load_balancer_in_error_is_deleted_then_blocked():
    broken = (web(provisioning_status="ERROR"),)
    assert ("DeleteLoadBalancer", "lb") in deletions(network({"lb": MAX_REQUESTS - 1}, load_balancers=broken))
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
    assert (("DeleteFloatingIP", "f") in deletions(network(load_balancers=(web(),), floating=(held,)))) == goes


def test_plan_kept_floating_ip_is_released():
    address = FloatingIP("f", "172.24.4.9", "vip", service_description("demo", "default/web", kept=True))
    clearing = network({"s-0": 1}, load_balancers=(web(),), floating=(address,))
    assert deletions(clearing) == [("ReleaseFloatingIP", "f"), ("DeleteLoadBalancer", "lb")]
    assert [item.name for item in clearing.kept] == ["172.24.4.9"]
    assert "172.24.4.9" not in {item.name for item in clearing.deleted}


def test_plan_foreign_load_balancer_is_left_step_by_step():
    steps, found = [], theirs()
    while (act := network({"s-0": 1}, shared=(found,)).deletions)[0].__class__.__name__ != "SetTags":
        steps.append(deletions(network({"s-0": 1}, shared=(found,))))
        own = found.listeners[1]
        kept = (replace(own, pool=None),) if own.pool else ()
        found = replace(found, listeners=(found.listeners[0], *kept))
    assert steps == [[("DeletePool", "p-2")], [("DeleteListener", "l-2")]]
    assert act[0].tags == ("other",)
    assert network(shared=(theirs(provisioning_status="PENDING_UPDATE"),)).waiting


def test_plan_foreign_load_balancer_in_error_is_kept():
    clearing = network(shared=(theirs(provisioning_status="ERROR"),))
    assert clearing.done
    assert "in ERROR" in clearing.kept[0].why


def test_plan_volume_after_snapshots_and_derived_volumes():
    one, two, three = volume("v"), volume("w", snapshot="s"), volume("x", source="v")
    _, clearing = storage(one, two, three, snapshot("s", "v"))
    assert deletions(clearing) == [("DeleteVolume", "w"), ("DeleteVolume", "x")]
    assert len(clearing.waiting) == 2
    _, clearing = storage(one, snapshot("s", "v"))
    assert deletions(clearing) == [("DeleteSnapshot", "s")]
    _, clearing = storage(one, snapshot("s", "v", "deleting"))
    assert (deletions(clearing), len(clearing.waiting)) == ([], 2)
    assert deletions(storage(one)[1]) == [("DeleteVolume", "v")]


@pytest.mark.parametrize("status", ["creating", "deleting", "detaching", "in-use"])
def test_plan_waits_for_busy_volume(status):
    _, clearing = storage(volume(status=status))
    assert (deletions(clearing), clearing.blocked) == ([], ())
    assert status in clearing.waiting[0]


def test_plan_releases_volume_of_deleted_server():
    _, clearing = storage(volume(status="in-use", at=["s-1"]))
    assert clearing.waiting[0] == "waiting for server demo-default-worker-0 to release volume pvc-v (1 GiB)"
    _, clearing = storage(volume(status="in-use", at=["s-9"]), missing_servers=frozenset(["s-9"]))
    assert deletions(clearing) == [("DeleteAttachment", "a-s-9")]
    _, clearing = storage(
        volume(status="attaching", at=["s-9"]), asked={"a-s-9": MAX_REQUESTS}, missing_servers=frozenset(["s-9"])
    )
    assert (deletions(clearing), len(clearing.waiting)) == ([], 1)


def test_plan_deletes_servers_left_by_heat():
    held = volume(status="in-use", at=["s-1"])
    assert deletions(storage(held)[1]) == [], "they are Heat's to delete"
    assert deletions(storage(held, stackless=True)[1]) == [("DeleteServer", "s-1")]
    assert "Nova" in storage(held, stackless=True, asked={"s-1": 1})[1].waiting[0]


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
    assert deletions(keeping) == [("KeepSnapshot", "s"), ("KeepVolume", "v")]
    assert clearing.done


def test_plan_unmarkable_volume_is_blocked():
    keeping, _ = storage(volume(status="maintenance"), keep=True, asked={"v": MAX_REQUESTS})
    assert (deletions(keeping), len(keeping.blocked)) == ([], 1)


def test_plan_undeletable_volume_is_reported_and_others_deleted():
    _, clearing = storage(volume(status="error_deleting"), volume("w"), messages={"v": "backend is full"})
    assert deletions(clearing) == [("DeleteVolume", "w")]
    assert clearing.blocked == ("volume pvc-v (1 GiB) cannot be deleted, it is error_deleting: backend is full",)
    _, clearing = storage(volume(), asked={"v": MAX_REQUESTS})
    assert len(clearing.blocked) == 1


def test_plan_does_not_wait_for_undeletable():
    _, clearing = storage(volume(), snapshot(status="error_deleting"))
    assert deletions(clearing) == [("DeleteVolume", "v")]
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
