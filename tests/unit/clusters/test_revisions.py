"""Upgrades of node groups: other nodes take over some at a time, also after a kill at every call, and back again."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from clustering import NODES, Dying, Joined, Killed, World
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.port.images import Image
from moorage.clusters.kubernetes import recorded_groups
from moorage.clusters.parameters import size
from moorage.clusters.progress import UNCHANGED_LIMIT
from moorage.clusters.reconcile import clusters
from moorage.kube.port import NODES as KUBE_NODES
from moorage.kube.port import PODS
from moorage.model.cluster import ClusterStatus, DrainOptions, NodeGroup, Taint
from moorage.model.errors import BadInput, Conflict, Failed, NotFound, QuotaExceeded, TimedOut

pytestmark = pytest.mark.unit

OPTIONS = DrainOptions(timeout=30)
LARGER = {"flavor": "m1.large"}
NEW_NODES = ["demo-workers-2-0", "demo-workers-2-1"]


class Watched(Joined):
    """Notes at each list of the Nodes how many the group has, and how many of them are Ready."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def list(self, resource, field=""):
        found = super().list(resource, field)
        if resource == KUBE_NODES:
            self.counts.append(sum("workers" in node["metadata"]["name"] for node in found.items))
        return found


def world_at(folder):
    world = World(MemoryCloud(), Watched(), folder)
    world.cloud.servers.flavor_list = [*world.cloud.servers.flavor_list, *world.cloud.servers.flavor_list[1:]]
    world.cloud.servers.flavor_list[-1] = type(world.cloud.servers.flavor_list[1])("m1.large", "f3", 4, 8192, 20)
    world.create()
    world.kube.counts.clear()
    return world


@pytest.fixture
def world(tmp_path):
    return world_at(tmp_path)


def nodes(world):
    return [node.name for node in world.observe().nodes if node.group == "workers"]


def group(world):
    return world.observe().groups[0]


def fail_new_nodes(world):
    """No node comes up any more."""
    world.cloud.stacks.failing |= {f"nodes/{index}/ready": "no GPU" for index in range(20)}


def test_upgrade_replaces_one_node_at_a_time(world):
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert nodes(world) == NEW_NODES
    assert (group(world).flavor, group(world).count) == ("m1.large", 2)
    assert list(world.cloud.stacks.records) == ["demo", "demo-workers-2"]
    assert world.observe().status is ClusterStatus.READY
    assert (min(world.kube.counts), max(world.kube.counts)) == (2, 3)


@pytest.mark.parametrize(("surge", "unavailable", "least", "most"), [(0, 1, 1, 2), (2, 0, 2, 4), (1, 1, 1, 3)])
def test_surge_bounds_how_many_nodes_there_are(world, surge, unavailable, least, most):
    changes = {**LARGER, "max_surge": surge, "max_unavailable": unavailable}
    world.groups().upgrade("workers", changes, OPTIONS)
    assert nodes(world) == NEW_NODES
    assert min(world.kube.counts) >= least
    assert max(world.kube.counts) == most


def test_upgrade_with_same_values_does_nothing(world):
    world.groups().upgrade("workers", {"flavor": "m1.node"}, OPTIONS)
    assert nodes(world) == NODES[1:]
    world.groups().upgrade("workers", LARGER, OPTIONS)
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert nodes(world) == NEW_NODES


def test_upgrade_changes_labels_taints_and_image_by_name(world):
    ours = {"os_distro": "moorage", "moorage_version": "2", "moorage_kubernetes_version": "1.37.2"}
    world.cloud.images.images.append(Image("newer", "image-2", "active", "2027", ours))
    changes = {"labels": {"a": "b"}, "taints": (Taint("k", "NoSchedule"),), "image": "newer"}
    world.groups().upgrade("workers", changes, OPTIONS)
    world.groups().upgrade("workers", changes, OPTIONS)
    found = group(world)
    assert (found.labels, found.taints, found.image) == ({"a": "b"}, (Taint("k", "NoSchedule"),), "image-2")
    assert nodes(world) == NEW_NODES


@pytest.mark.parametrize(
    ("changes", "error", "reported"),
    [
        ({"flavor": "m1.larg"}, BadInput, "m1.larg: no such flavor"),
        ({"image": "missing"}, BadInput, "missing: no such image"),
        ({"labels": {"kubernetes.io/a": "b"}}, BadInput, "does not let a node set labels"),
        ({**LARGER, "max_surge": 0}, BadInput, "no node could be upgraded"),
        ({"image": "newest"}, BadInput, r"it has Kubernetes 1\.38, the control plane 1\.37"),
        ({**LARGER, "max_surge": 30}, QuotaExceeded, "needed 8 , available"),
    ],
)
def test_upgrade_with_bad_input_creates_nothing(world, changes, error, reported):
    ours = {"os_distro": "moorage", "moorage_version": "2", "moorage_kubernetes_version": "1.38.0"}
    world.cloud.images.images.append(Image("newest", "image-2", "active", "2027", ours))
    world.cloud.servers.limits["cores"] = 10
    with pytest.raises(error, match=reported.replace("8 ", "8")):
        world.groups().upgrade("workers", changes, OPTIONS)
    assert nodes(world) == NODES[1:]
    assert len(world.cloud.stacks.records) == 2


def test_upgrade_of_missing_group(world):
    with pytest.raises(NotFound, match="no node group 'gpu'"):
        world.groups().upgrade("gpu", LARGER, OPTIONS)


def test_new_node_that_does_not_come_up_stops_the_upgrade_and_the_others_run_on(world):
    fail_new_nodes(world)
    with pytest.raises(Failed, match="no GPU") as failed:
        world.groups().upgrade("workers", LARGER, OPTIONS)
    assert "moorage nodegroup rollback demo workers" in failed.value.hint
    assert set(NODES[1:]) <= set(nodes(world))
    shown = world.observe()
    assert (shown.status, shown.reason) == (ClusterStatus.FAILED, "node demo-workers-2-1: no GPU")


def test_rollback_keeps_nodes_that_are_there(world):
    fail_new_nodes(world)
    with pytest.raises(Failed):
        world.groups().upgrade("workers", LARGER, OPTIONS)
    world.cloud.stacks.failing.clear()
    world.groups().rollback("workers", OPTIONS)
    assert nodes(world) == NODES[1:]
    assert group(world).flavor == "m1.node"
    assert world.observe().status is ClusterStatus.READY
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert nodes(world) == ["demo-workers-4-0", "demo-workers-4-1"], "the number of the rollback is used"


def test_rollback_after_several_failed_upgrades_returns_to_nodes_that_run(world):
    fail_new_nodes(world)
    for flavor in ("m1.large", "m1.small"):
        with pytest.raises(Failed):
            world.groups().upgrade("workers", {"flavor": flavor}, OPTIONS)
    world.groups().rollback("workers", OPTIONS)
    assert nodes(world) == NODES[1:]
    assert list(world.cloud.stacks.records) == ["demo", "demo-workers-1"]


def test_another_upgrade_replaces_a_failed_one(world):
    fail_new_nodes(world)
    with pytest.raises(Failed):
        world.groups().upgrade("workers", LARGER, OPTIONS)
    world.cloud.stacks.failing.clear()
    world.groups().upgrade("workers", {"flavor": "m1.small"}, OPTIONS)
    assert nodes(world) == ["demo-workers-3-0", "demo-workers-3-1"]


def test_rollback_without_former_revision(world):
    with pytest.raises(Conflict, match="no former revision"):
        world.groups().rollback("workers", OPTIONS)
    world.groups().upgrade("workers", LARGER, OPTIONS)
    with pytest.raises(Conflict, match="no former revision"):
        world.groups().rollback("workers", OPTIONS)


def begin_upgrade(world, last):
    """End a run of the upgrade when this node of the new revision is there."""
    cloud = world.cloud
    for number in count(1):
        try:
            world.groups(Dying(cloud, number, after=True)).upgrade("workers", LARGER, OPTIONS)
        except Killed:
            if last in nodes(world):
                return
        else:
            raise AssertionError("the upgrade was not interrupted")


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_resize_during_upgrade_continues_it_with_that_number(world, workers):
    begin_upgrade(world, NEW_NODES[0])
    assert len({name.rpartition("-")[0] for name in nodes(world)}) == 2
    assert world.observe().status is ClusterStatus.UPDATING
    world.groups().resize("workers", workers, OPTIONS)
    assert nodes(world) == [f"demo-workers-2-{index}" for index in range(workers)]
    assert group(world).count == workers
    world.repair()
    assert len(nodes(world)) == workers


def test_repair_continues_an_upgrade(world):
    begin_upgrade(world, NEW_NODES[0])
    world.repair()
    assert nodes(world) == NEW_NODES


def test_delete_during_upgrade_deletes_all_revisions(world):
    begin_upgrade(world, NEW_NODES[0])
    world.groups().create(NodeGroup("other", 1))
    world.groups().delete("workers", OPTIONS)
    assert list(world.cloud.stacks.records) == ["demo", "demo-other-1"]


def test_cluster_is_deleted_during_upgrade(world):
    begin_upgrade(world, NEW_NODES[0])
    world.delete()
    assert not world.cloud.stacks.records


def test_nodes_cannot_be_deleted_during_upgrade(world):
    begin_upgrade(world, NEW_NODES[0])
    there = nodes(world)
    with pytest.raises(Conflict, match="is being upgraded"):
        world.groups().delete_nodes(there[:1], OPTIONS)
    with pytest.raises(Conflict, match="is being upgraded"):
        world.groups().replace_nodes(there[-1:], OPTIONS)
    assert nodes(world) == there


def test_pods_are_evicted_from_former_nodes(world):
    pod = {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"nodeName": NODES[1]}}
    world.kube.create(PODS, pod)
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert world.kube.list(PODS).items == ()


def test_lost_former_node_is_not_recreated(world):
    begin_upgrade(world, NEW_NODES[0])
    former = next(node for node in world.cloud.servers.list("demo") if node.name.startswith("demo-workers-1"))
    world.cloud.servers.delete(former.id)
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert nodes(world) == NEW_NODES
    assert "demo-workers-1" not in world.cloud.stacks.records


def test_new_nodes_do_not_get_labels_of_the_former_revision(world):
    world.groups().upgrade("workers", {"labels": {"a": "b"}}, OPTIONS)
    assert list(recorded_groups(world.kube)) == ["demo-workers-2"]
    record = []
    create = world.cloud.stacks.create

    def note(request):
        record.append(dict(recorded_groups(world.kube)))
        create(request)

    world.cloud.stacks.create = note
    world.groups().upgrade("workers", {"labels": {"c": "d"}}, OPTIONS)
    assert sorted(record[0]) == ["demo-workers-2", "demo-workers-3"], "it is there before the nodes"
    assert list(recorded_groups(world.kube)) == ["demo-workers-3"]
    assert '"c": "d"' in recorded_groups(world.kube)["demo-workers-3"]


def test_each_drain_of_an_upgrade_has_its_whole_time(world):
    budget_blocks(world, *NODES[1:])
    before = len(world.reported)
    world.groups().upgrade("workers", {**LARGER}, DrainOptions(timeout=30, force=True))
    assert nodes(world) == NEW_NODES
    assert sum("going on after 30 s" in text for text in world.reported[before:]) == 2
    assert sum("draining" in text and "going on" not in text for text in world.reported[before:]) >= 2


def budget_blocks(world, *names):
    """On each of these nodes a pod that may not be evicted."""
    for name in names:
        world.kube.create(PODS, {"metadata": {"namespace": "shop", "name": name}, "spec": {"nodeName": name}})

    def refuse(pod):
        raise Conflict("disruption budget")

    world.kube.evict = refuse


def test_rollback_uncordons_nodes_before_it_drains_others(world):
    world.groups().resize("workers", 1, OPTIONS)
    budget_blocks(world, NODES[1])
    with pytest.raises(Failed, match="could not be drained"):
        world.groups().upgrade("workers", LARGER, OPTIONS)
    assert world.kube.get(KUBE_NODES, NODES[1])["spec"]["unschedulable"]
    drained = []
    world.kube.evict = lambda pod: drained.append(world.kube.get(KUBE_NODES, NODES[1])["spec"].get("unschedulable"))
    world.kube.create(PODS, {"metadata": {"namespace": "shop", "name": "x"}, "spec": {"nodeName": NEW_NODES[0]}})
    world.groups().rollback("workers", DrainOptions(5, force=True))
    assert nodes(world) == NODES[1:2]
    assert set(drained) == {None}


def test_two_upgrades_at_once_do_not_undo_each_other(world):
    begin_upgrade(world, NEW_NODES[0])
    other = world.groups()
    reported = iter(range(10**6))

    def interfere(text):
        if "upgrading" in text and not next(reported):
            world.groups().upgrade("workers", {"flavor": "m1.small"}, OPTIONS)

    with pytest.raises(Conflict, match="another upgrade of node group workers has begun"):
        replace(other, report=interfere).upgrade("workers", LARGER, OPTIONS)
    assert group(world).flavor == "m1.small"


def test_rollback_beside_upgrade_ends_the_upgrade(world):
    begin_upgrade(world, NEW_NODES[0])
    upgrade, reported = world.groups(), iter(range(10**6))

    def interfere(text):
        if "upgrading" in text and not next(reported):
            world.groups().rollback("workers", OPTIONS)

    with pytest.raises(Conflict, match="has begun meanwhile"):
        replace(upgrade, report=interfere).upgrade("workers", LARGER, OPTIONS)
    assert group(world).flavor == "m1.node"


def test_lost_former_node_of_which_the_node_stays_does_not_stop_the_upgrade(world):
    """As without a cloud provider: only the upgrade itself deletes such a Node."""
    begin_upgrade(world, NEW_NODES[0])
    world.kube.slow = True
    for node in world.cloud.servers.list("demo"):
        if node.name.startswith("demo-workers-1"):
            world.cloud.servers.delete(node.id)
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert nodes(world) == NEW_NODES
    assert world.observe().status is ClusterStatus.READY


def test_failed_upgrade_can_be_corrected_when_the_quota_is_used(world):
    fail_new_nodes(world)
    with pytest.raises(Failed):
        world.groups().upgrade("workers", LARGER, OPTIONS)
    world.cloud.stacks.failing.clear()
    world.cloud.servers.limits["instances"] = len(world.cloud.servers.list())
    world.groups().upgrade("workers", {"flavor": "m1.small"}, OPTIONS)
    assert nodes(world) == ["demo-workers-3-0", "demo-workers-3-1"]


def test_upgrade_without_surge_is_shown_between_two_stages(world):
    changes = {**LARGER, "max_surge": 0, "max_unavailable": 2}

    def kill(text):
        if "requesting 2 nodes in demo-workers-2" in text:
            raise Killed

    with pytest.raises(Killed):
        replace(world.groups(), report=kill).upgrade("workers", changes, OPTIONS)
    assert (list(world.cloud.stacks.records), nodes(world)) == (["demo", "demo-workers-2"], [])
    assert world.observe().status is ClusterStatus.UPDATING
    with pytest.raises(NotFound):
        world.groups().delete_nodes(["demo-workers-2-0"], OPTIONS)
    world.repair()
    assert nodes(world) == NEW_NODES


def test_every_stage_of_an_upgrade_may_repair_a_node(world):
    world.groups().resize("workers", 4, OPTIONS)
    world.cloud.stacks.failing |= {"nodes/0/ready": "no GPU", "nodes/3/ready": "no GPU"}
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert nodes(world) == [f"demo-workers-2-{index}" for index in (1, 2, 4, 5)]


def test_number_that_was_changed_by_hand_is_kept(world):
    world.groups().upgrade("workers", LARGER, OPTIONS)
    world.groups().resize("workers", 3, OPTIONS)
    stack = world.cloud.stacks.get("demo-workers-2")
    world.cloud.stacks.update(stack, {"count": 4})
    world.repair()
    assert len(nodes(world)) == group(world).count == 4


def test_surge_alone_is_recorded_and_checked(world):
    world.groups().upgrade("workers", {"max_surge": 2}, OPTIONS)
    assert (group(world).max_surge, nodes(world)) == (2, NODES[1:])
    with pytest.raises(BadInput, match="no node could be upgraded"):
        world.groups().upgrade("workers", {"max_surge": 0}, OPTIONS)
    assert world.create().status is ClusterStatus.READY, "the surge does not make another cluster"
    assert group(world).max_surge == 2


@pytest.mark.parametrize("changes", [{"image": "newest"}, {"flavor": "nope"}])
def test_upgrade_without_surge_is_checked_too(world, changes):
    ours = {"os_distro": "moorage", "moorage_version": "2", "moorage_kubernetes_version": "1.38.0"}
    world.cloud.images.images.append(Image("newest", "image-2", "active", "2027", ours))
    with pytest.raises(BadInput):
        world.groups().upgrade("workers", {**changes, "max_surge": 0, "max_unavailable": 1}, OPTIONS)
    assert len(world.cloud.stacks.records) == 2


def test_rollback_prefers_nodes_that_run(world):
    fail_new_nodes(world)
    with pytest.raises(Failed):
        world.groups().upgrade("workers", {**LARGER, "max_surge": 2}, OPTIONS)
    with pytest.raises(Failed):
        world.groups().upgrade("workers", {"flavor": "m1.small"}, OPTIONS)
    world.groups().rollback("workers", OPTIONS)
    assert nodes(world) == NODES[1:]


def test_former_stack_that_heat_left_in_deletion_is_deleted_again(world):
    begin_upgrade(world, NEW_NODES[0])
    world.cloud.stacks.delete(world.cloud.stacks.get("demo-workers-1"))
    world.cloud.stacks.engine_dead = True
    world.groups().upgrade("workers", LARGER, OPTIONS)
    assert list(world.cloud.stacks.records) == ["demo", "demo-workers-2"]


def test_stuck_deletion_is_requested_no_more_often_than_stacks_may_be_unchanged(world, monkeypatch):
    begin_upgrade(world, NEW_NODES[0])
    stacks, requests = world.cloud.stacks, []
    stacks.delete(stacks.get("demo-workers-1"))
    monkeypatch.setattr(stacks, "_delete", lambda record: None)
    monkeypatch.setattr(stacks, "delete", requests.append)
    with pytest.raises(TimedOut):
        world.groups().upgrade("workers", LARGER, OPTIONS)
    assert 1 <= len(requests) <= 2 * (900 + OPTIONS.timeout) / UNCHANGED_LIMIT, "in two rounds of an upgrade"


@pytest.mark.parametrize("after", [False, True])
def test_repair_after_killed_delete_during_upgrade_keeps_the_current_revision_or_none(tmp_path, after):
    for number in count(1):
        world = world_at(tmp_path / str(number))
        begin_upgrade(world, NEW_NODES[0])
        killed = False
        try:
            world.groups(Dying(world.cloud, number, after)).delete("workers", DrainOptions(force=True))
        except Killed:
            killed = True
        world.repair()
        left = [name for name in world.cloud.stacks.records if name != "demo"]
        assert left in ([], ["demo-workers-2"])
        assert len(nodes(world)) == 2 * len(left)
        if not killed:
            assert not left
            return


def test_upgrade_is_shown_as_such(world, tmp_path):
    begin_upgrade(world, NEW_NODES[0])
    assert [cluster.status for cluster in clusters(world.cloud)] == [ClusterStatus.UPDATING]
    elsewhere = World(world.cloud, world.kube, tmp_path / "elsewhere")
    shown = elsewhere.observe()
    assert shown.status is ClusterStatus.UPDATING
    assert "upgrading node group workers" in shown.reason
    assert "Ready" not in shown.reason
    with pytest.raises(Failed, match="private key is on another machine"):
        elsewhere.create()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["upgrade", "rollback"])
def test_kill_at_every_call_ends_in_the_same_nodes(tmp_path, verb, after):
    for number in count(1):
        world = world_at(tmp_path / str(number))
        if verb == "rollback":
            begin_upgrade(world, NEW_NODES[0])

        def change(cloud, world=world):
            if verb == "upgrade":
                world.groups(cloud).upgrade("workers", LARGER, OPTIONS)
            else:
                world.groups(cloud).rollback("workers", OPTIONS)

        killed = False
        try:
            change(Dying(world.cloud, number, after))
        except Killed:
            killed = True
        expected = "demo-workers-2" if verb == "upgrade" else "demo-workers-1"
        if list(world.cloud.stacks.records) != ["demo", expected]:
            change(world.cloud)
        world.repair()
        assert list(world.cloud.stacks.records) == ["demo", expected]
        assert size(world.cloud.stacks.get(expected)) == len(nodes(world)) == 2
        if not killed:
            return
