"""Deleting a cluster deletes all resources that it owns, from any state, and keeps what is kept or another owner's."""

from __future__ import annotations

from itertools import count, pairwise

import pytest

from clustering import Clock, Dying, Joined, Killed, World
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.memory.load_balancers import MemoryLoadBalancers
from moorage.cloud.memory.network import MemoryNetwork
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.port.load_balancers import Listener, LoadBalancer
from moorage.cloud.port.network import Subnet
from moorage.cloud.port.volumes import NewVolume
from moorage.clusters import reconcile
from moorage.clusters.progress import PollInterval
from moorage.model.errors import BadInput, CloudUnreachable, Failed, NotFound, TimedOut
from moorage.model.ownership import (
    CLUSTER_MARK,
    RECLAIM_MARK,
    cluster_tag,
    service_description,
    service_tag,
    serving_tag,
)

pytestmark = pytest.mark.unit

NODES = ["demo-control-plane-0", "demo-workers-1-0", "demo-workers-1-1"]


def new_cloud(settle=2):
    network = MemoryNetwork({"public": [Subnet("p", "p", "172.24.4.0/24")]})
    return MemoryCloud(
        load_balancers=MemoryLoadBalancers(settle, on_delete=network.disassociate_port),
        network=network,
        volumes=MemoryVolumes(),
    )


def new_world(cloud, folder):
    kube = Joined()
    return World(cloud, kube, folder)


@pytest.fixture
def cloud():
    return new_cloud()


@pytest.fixture
def world(cloud, tmp_path):
    world = new_world(cloud, tmp_path)
    world.create()
    return world


def subnet(cloud):
    return next(r.physical_id for r in cloud.stacks.records["demo"].resources if r.path == ("subnet",))


def balance(cloud, cluster="demo", name="web", within="", **words):
    """A load balancer as a Service gets it, with its floating IP."""
    tag = service_tag(cluster, "default", name)
    wanted = LoadBalancer(tag, "ovn", tags=(tag, cluster_tag(cluster)), subnet=within or subnet(cloud), **words)
    made = cloud.load_balancers.create(wanted)
    while cloud.load_balancers.status(made.id).startswith("PENDING"):
        pass
    cloud.network.create_floating_ip("public", "", made.port, service_description(cluster, f"default/{name}"))
    return made.id


def settled(volumes):
    for _ in range(3):
        volumes.list(), volumes.snapshots()


def store(cloud, name, cluster="demo", at="", **marks):
    """A volume as a claim gets it, attached to that server."""
    claim = {"csi.storage.k8s.io/pvc/namespace": "default", "csi.storage.k8s.io/pvc/name": name}
    metadata = ({CLUSTER_MARK: cluster} if cluster else {}) | claim | marks
    made = cloud.volumes.create(NewVolume(f"pvc-{name}", 2, metadata=metadata))
    settled(cloud.volumes)
    if at:
        cloud.volumes.servers.add(at)
        cloud.volumes.attach(at, made.id)
        settled(cloud.volumes)
    return made.id


def take(cloud, name, volume, cluster="demo", **marks):
    made = cloud.volumes.create_snapshot(name, volume, True, {CLUSTER_MARK: cluster} | marks)
    settled(cloud.volumes)
    return made.id


RETAIN = {RECLAIM_MARK: "Retain"}


def fill(cloud):
    """All that may be found, of this cluster and of others."""
    worker = cloud.servers.list("demo")[-1].id
    balance(cloud)
    balance(cloud, name="other")
    used = store(cloud, "data", at=worker)
    store(cloud, "free")
    store(cloud, "precious", at=worker, **RETAIN)
    take(cloud, "daily", used)
    theirs = balance(cloud, "another", within="elsewhere")
    cloud.network.create_floating_ip("public", "", "", "of a person")
    store(cloud, "data", "another")
    store(cloud, "mine", cluster="")
    return theirs


def names(cloud):
    settled(cloud.volumes)
    return sorted(v.metadata["csi.storage.k8s.io/pvc/name"] for v in cloud.volumes.list())


def only_what_stays(cloud, theirs):
    """What is of others, and the volume that is retained; free to be used again."""
    assert not cloud.stacks.records
    assert list(cloud.load_balancers.by_id) == [theirs]
    assert {held.description for held in cloud.network.floating.values()} == {
        "of a person",
        service_description("another", "default/web"),
    }
    assert names(cloud) == ["data", "mine", "precious"]
    assert {volume.status for volume in cloud.volumes.list()} == {"available"}
    assert cloud.volumes.snapshots() == []


def test_delete_removes_owned_resources_only(world, cloud):
    theirs = fill(cloud)
    done = world.delete()
    only_what_stays(cloud, theirs)
    assert [(kept.name, kept.size, kept.claim) for kept in done.kept] == [("pvc-precious", 2, "default/precious")]
    assert not world.files()


def test_delete_reports_steps_in_order(world, cloud):
    fill(cloud)
    world.reported.clear()
    world.delete()
    reported = "\n".join(world.reported)
    order = [
        "keeping volume pvc-precious (2 GiB, of default/precious): its policy is Retain",
        "deleting server demo-control-plane-0",
        "deleting floating IP 172.24.4.",
        "deleting load balancer kube_service_demo_default_web",
        "waiting for Octavia: load balancer kube_service_demo",
        "detaching the network of demo",
        "revoking demo's credential",
        "deleting stack demo-workers-1",
        "waiting for Heat to delete",
        "deleting snapshot daily",
        "deleting volume pvc-data (2 GiB, of default/data)",
        "checking that nothing remains",
    ]
    for earlier, later in pairwise(order):
        assert reported.index(earlier) < reported.index(later), reported
    assert reported.count("keeping volume") == 1


def test_delete_does_not_call_the_clusters_api(world, cloud):
    theirs = fill(cloud)
    world.kube.connect = lambda _: pytest.fail("it is dead")
    world.delete()
    only_what_stays(cloud, theirs)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_delete_killed_at_every_call_resumes(tmp_path, after):
    for number in count(1):
        cloud = new_cloud(settle=1)
        world = new_world(cloud, tmp_path / str(number))
        world.create()
        theirs = fill(cloud)
        try:
            world.delete(cloud=Dying(cloud, number, after))
        except Killed:
            world.delete()
        else:
            assert number > 40
            return
        only_what_stays(cloud, theirs)
        assert not world.files()


def test_delete_stops_control_plane_that_recreates_load_balancers(world, cloud):
    """Its controller notices that a load balancer was deleted, and recreates it."""
    delete, makers = cloud.load_balancers.delete, ["demo-control-plane-0"]

    def delete_and_lose(id):
        delete(id)
        if makers:
            balance(cloud, name=f"again-{len(cloud.load_balancers.by_id)}")
            makers.clear()

    balance(cloud)
    cloud.load_balancers.delete = delete_and_lose
    world.delete()
    assert not cloud.load_balancers.by_id
    assert not cloud.network.floating


def test_resources_created_during_deletion_are_deleted(world, cloud):
    delete = cloud.stacks.delete

    def delete_and_find(stack):
        delete(stack)
        if not cloud.load_balancers.by_id:
            balance(cloud)

    cloud.stacks.delete = delete_and_find
    with pytest.raises(Failed, match="port in use"):
        world.delete()  # something makes one whenever Heat is asked
    cloud.stacks.delete = delete
    world.delete()
    assert not cloud.stacks.records
    assert not cloud.load_balancers.by_id


@pytest.mark.parametrize("key", [True, False], ids=["here", "elsewhere"])
def test_delete_without_stack_deletes_owned_resources(world, cloud, tmp_path, key):
    balance(cloud)
    store(cloud, "data")
    del cloud.stacks.records["demo"]
    there = world if key else new_world(cloud, tmp_path / "elsewhere")
    there.delete()
    assert not cloud.load_balancers.by_id
    assert names(cloud) == []
    if not key:
        with pytest.raises(NotFound, match="no cluster 'demo'"):
            there.delete()


def test_delete_name_of_foreign_resources_is_not_found(world, cloud):
    theirs = fill(cloud)
    for name in ("an", "another-", "missing", "default"):
        with pytest.raises(NotFound):
            world.delete(name)
    world.delete()
    with pytest.raises(NotFound):
        world.delete()
    only_what_stays(cloud, theirs)


def test_volumes_of_foreign_cluster_of_same_name_are_kept(world, cloud):
    cloud.volumes.create(NewVolume("pvc-x", 1, metadata={"cinder.csi.openstack.org/cluster": "demo"}))
    world.delete()
    settled(cloud.volumes)
    assert [volume.name for volume in cloud.volumes.list()] == ["pvc-x"]


def test_delete_without_octavia_and_cinder(world, cloud):
    cloud.load_balancers = cloud.volumes = None
    assert world.delete().kept == ()
    assert not cloud.stacks.records


def test_delete_without_permission_for_load_balancers(world, cloud):
    def refuse(tag):
        raise BadInput("Octavia refused: Policy does not allow this request to be performed.")

    cloud.load_balancers.tagged = refuse
    world.delete()
    assert not cloud.stacks.records


def test_delete_without_owned_resources_lists_them_thrice(world, cloud):
    """For the preview, in its turn, and to verify that nothing remains; not while Heat deletes the stack."""
    for port in (cloud.load_balancers, cloud.volumes):
        port.calls.clear()
    world.delete()
    assert sorted(cloud.load_balancers.calls) == ["tagged"] * 2 * 3
    assert sorted(cloud.volumes.calls) == ["list"] * 2 * 3 + ["snapshots"] * 2 * 3


def test_delete_waits_for_unreachable_octavia(world, cloud):
    balance(cloud)
    clock = Clock()

    def sleep(seconds):
        clock.sleep(seconds)
        cloud.load_balancers.unreachable = "Octavia does not answer" if 1 < clock.time < 30 else ""

    poll = PollInterval(1.0, lambda: clock.time, sleep)
    reconcile.delete(cloud, world.kube.connect, world.folder, "demo", world.reported.append, poll=poll)
    assert not cloud.load_balancers.by_id
    assert "waiting for the cloud: Octavia does not answer" in world.reported


def test_delete_with_unreachable_service_deletes_nothing(world, cloud):
    cloud.volumes.unreachable = "Cinder does not answer"
    with pytest.raises(CloudUnreachable, match="Cinder"):
        world.delete()
    assert cloud.stacks.records["demo"].stack.status == "CREATE_COMPLETE"


def test_shared_load_balancer_blocks_deletion(world, cloud):
    id = balance(cloud)
    cloud.load_balancers.set_tags(id, (*cloud.load_balancers.get(id).tags, service_tag("another", "default", "web")))
    with pytest.raises(Failed, match="kube_service_another_default_web"):
        world.delete()
    assert cloud.stacks.records["demo"].stack.status == "CREATE_COMPLETE"
    assert id in cloud.load_balancers.by_id


def test_foreign_load_balancer_loses_clusters_ports(world, cloud):
    tag = service_tag("demo", "default", "web")
    listeners = (Listener("l", "TCP", 22), Listener("m", "TCP", 80, tags=(tag,)))
    made = cloud.load_balancers.create(
        LoadBalancer("theirs", "ovn", tags=("x", tag, serving_tag("demo")), listeners=listeners)
    )
    world.delete()
    left = cloud.load_balancers.get(made.id)
    assert ([held.port for held in left.listeners], left.tags) == ([22], ("x",))


def test_kept_floating_ip_loses_its_description(world, cloud):
    balance(cloud)
    (held,) = cloud.network.floating.values()
    cloud.network.set_floating_ip_description(held.id, service_description("demo", "default/web", kept=True))
    assert [(kept.kind, kept.name) for kept in world.delete().kept] == [("floating IP", held.address)]
    (left,) = cloud.network.floating.values()
    assert (left.address, left.port, left.description) == (held.address, "", "")


def test_pending_load_balancer_is_named_at_timeout(world, cloud):
    cloud.load_balancers.set_status(balance(cloud), "PENDING_UPDATE")
    with pytest.raises(TimedOut, match="kube_service_demo_default_web is PENDING_UPDATE"):
        world.delete(timeout=60)


def test_keep_volumes_keeps_and_lists_all(world, cloud):
    fill(cloud)
    done = world.delete(keep_volumes=True)
    assert not cloud.stacks.records
    assert names(cloud) == ["data", "data", "free", "mine", "precious"]
    assert {(kept.kind, kept.name) for kept in done.kept} == {
        ("volume", "pvc-data"),
        ("volume", "pvc-free"),
        ("volume", "pvc-precious"),
        ("snapshot", "daily"),
    }
    world.create()
    world.delete()
    assert names(cloud) == ["data", "data", "free", "mine", "precious"], "a later cluster of that name is not theirs"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_kept_volumes_stay_kept_in_later_run(tmp_path, after):
    """Killed at any call after the volumes were marked, which comes before any deletion."""
    for number in count(1):
        cloud = new_cloud(settle=1)
        world = new_world(cloud, tmp_path / str(number))
        world.create()
        store(cloud, "data", at=cloud.servers.list("demo")[-1].id)
        begun = len(cloud.volumes.calls)
        try:
            world.delete(cloud=Dying(cloud, number, after), keep_volumes=True)
        except Killed:
            marked = "set_metadata" in cloud.volumes.calls[begun:]
            assert marked or cloud.stacks.records["demo"].stack.status == "CREATE_COMPLETE"
            if not marked:
                continue
            world.delete()
            assert names(cloud) == ["data"]
            continue
        return


def test_undeletable_volume_is_reported_and_can_be_kept(world, cloud):
    cloud.volumes.failing["delete"] = "the backend is full"
    store(cloud, "data")
    with pytest.raises(Failed, match=r"pvc-data .* error_deleting: the backend is full"):
        world.delete()
    assert not cloud.stacks.records
    assert world.files(), "it can be repeated"
    assert [kept.name for kept in world.delete(keep_volumes=True).kept] == ["pvc-data"]
    assert not world.files()


def test_failure_without_cinder_messages_is_reported(world, cloud):
    def no_messages(id):
        raise NotFound("Cinder knows no /messages")

    cloud.volumes.failing["delete"], cloud.volumes.last_message = "unheard", no_messages
    store(cloud, "data")
    with pytest.raises(Failed, match=r"error_deleting$"):
        world.delete()


def test_volume_at_foreign_server_is_kept(world, cloud):
    id = store(cloud, "data", at="stranger")
    done = world.delete()
    assert [kept.why for kept in done.kept] == ["it is attached to server stranger, which is not the cluster's"]
    assert cloud.volumes.get(id).status == "in-use"


def test_volume_of_deleted_server_is_released_and_deleted(world, cloud):
    id = store(cloud, "data", at="lost")
    cloud.volumes.servers.discard("lost")
    world.delete()
    assert cloud.volumes.get(id) is None


def test_delete_without_wait_ends_after_request(world, cloud):
    theirs = fill(cloud)
    world.delete(wait=False, keep_volumes=False)
    assert cloud.stacks.records["demo"].stack.status == "DELETE_IN_PROGRESS"
    assert list(cloud.load_balancers.by_id) == [theirs], "Heat can be asked once its network is free"
    world.delete()
    only_what_stays(cloud, theirs)


def test_preview_lists_deleted_and_kept_resources(world, cloud):
    fill(cloud)
    preview = reconcile.preview_deletion(cloud, world.kube.connect, world.folder, "demo")
    assert sorted(item.kind for item in preview.deleted) == [
        *["floating IP"] * 2, *["load balancer"] * 2, "snapshot", *["volume"] * 2,
    ]  # fmt: skip
    assert [item.name for item in preview.kept] == ["pvc-precious"]
    kept = reconcile.preview_deletion(cloud, world.kube.connect, world.folder, "demo", keep_volumes=True).kept
    assert len(kept) == 4
    with pytest.raises(NotFound):
        reconcile.preview_deletion(cloud, world.kube.connect, world.folder, "missing")
    assert cloud.stacks.records["demo"].stack.status == "CREATE_COMPLETE"
