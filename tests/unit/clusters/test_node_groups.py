"""Node groups of a cluster in memory: created, resized, drained and deleted, also after a kill at every call."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from clustering import NODES, Dying, Joined, Killed, Life, World
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import StackRequest
from moorage.clusters import reconcile
from moorage.kube.port import NODES as KUBE_NODES
from moorage.kube.port import PERSISTENT_VOLUME_CLAIMS, PODS, VOLUME_ATTACHMENTS
from moorage.model.cluster import ClusterStatus, DrainOptions, NodeGroup, Taint
from moorage.model.errors import BadInput, Conflict, Failed, KubernetesUnreachable, NotFound, QuotaExceeded
from moorage.model.nodes import REMOVING

pytestmark = pytest.mark.unit

GPU = NodeGroup("gpu", 2, labels={"example.com/gpu": "yes"}, taints=(Taint("gpu", "NoSchedule"),), max_count=4)
GPU_NODES = ["demo-gpu-1-0", "demo-gpu-1-1"]
OPTIONS = DrainOptions(timeout=30)


@pytest.fixture
def cloud():
    return MemoryCloud()


@pytest.fixture
def kube():
    return Joined()


@pytest.fixture
def world(cloud, kube, tmp_path):
    world = World(cloud, kube, tmp_path)
    world.create()
    return world


def nodes(world):
    return [node.name for node in world.observe().nodes]


def run(kube, name, node, **metadata):
    """A pod on a node."""
    kube.create(PODS, {"metadata": {"namespace": "shop", "name": name, **metadata}, "spec": {"nodeName": node}})


def pods(kube):
    return sorted(pod["metadata"]["name"] for pod in kube.list(PODS).items)


def is_cordoned(kube, node):
    found = kube.get(KUBE_NODES, node) or {"metadata": {}}
    cordoned = bool(found.get("spec", {}).get("unschedulable"))
    assert cordoned == (REMOVING in found["metadata"].get("annotations", {}))
    return cordoned


def test_create_group_has_nodes_with_labels_and_taints(world, cloud):
    world.groups().create(GPU)
    assert nodes(world) == [NODES[0], *GPU_NODES, *NODES[1:]]
    there = cloud.stacks.records["demo-gpu-1"].stack.parameters
    assert (there["labels"], there["flavor"]) == ('{"example.com/gpu": "yes"}', "m1.node")
    found = world.observe()
    assert found.status is ClusterStatus.READY
    assert [(group.name, group.count, group.taints) for group in found.groups] == [
        ("gpu", 2, GPU.taints),
        ("workers", 2, ()),
    ]
    assert world.create().status is ClusterStatus.READY, "the command for the cluster leaves the group alone"


def test_create_group_again_returns_and_other_one_conflicts(world):
    world.groups().create(GPU)
    world.groups().create(GPU)
    with pytest.raises(Conflict, match="labels of gpu"):
        world.groups().create(replace(GPU, labels={}))
    assert len(nodes(world)) == 5


@pytest.mark.parametrize(
    ("group", "error", "reported"),
    [
        (replace(GPU, flavor="m1.nodes"), BadInput, "node group gpu: --flavor m1.nodes"),
        (replace(GPU, count=5), BadInput, "0 to 4 nodes"),
        (replace(GPU, name="control-plane"), BadInput, "reserved"),
        (replace(GPU, count=300, max_count=300), BadInput, "--pod-cidr"),
        (replace(GPU, count=18, max_count=18), QuotaExceeded, "needed 18, available 17"),
    ],
)
def test_create_group_with_bad_input_creates_nothing(world, cloud, group, error, reported):
    with pytest.raises(error, match=reported):
        world.groups().create(group)
    assert len(cloud.stacks.records) == 2


def test_create_group_does_not_take_foreign_stack(world, cloud):
    cloud.stacks.create(StackRequest("demo-gpu-1", "resources: {x: {type: 'OS::Heat::None'}}", {}, {}, ("theirs",)))
    with pytest.raises(Conflict, match="'demo-gpu-1' exists and is not this cluster's"):
        world.groups().create(GPU)
    world.delete()
    assert list(cloud.stacks.records) == ["demo-gpu-1"]


def test_group_with_failed_node_keeps_others_and_names_it(world, cloud):
    cloud.stacks.failing |= {
        f"nodes/{index}/ready": "WaitConditionFailure: resources.ready: no GPU" for index in (1, 2)
    }
    with pytest.raises(Failed, match="node demo-gpu-1-2: no GPU"):
        world.groups().create(GPU)
    assert GPU_NODES[0] in nodes(world)
    cloud.stacks.failing.clear()
    world.groups().create(GPU)
    assert world.observe().status is ClusterStatus.READY


def test_resize_adds_nodes_with_new_token(world, cloud, kube):
    world.groups().resize("workers", 4, OPTIONS)
    assert nodes(world) == [*NODES, "demo-workers-1-2", "demo-workers-1-3"]
    token = cloud.stacks.updated_parameters["demo-workers-1"]["bootstrap_token"]
    assert kube.secrets()[f"bootstrap-token-{token.partition('.')[0]}"]["token-secret"] == token.partition(".")[2]


def test_resize_beyond_quota_or_network_is_rejected(world, cloud):
    cloud.servers.limits["instances"] = 4
    with pytest.raises(QuotaExceeded, match="quota of instances: needed 2, available 1"):
        world.groups().resize("workers", 4, OPTIONS)
    with pytest.raises(BadInput, match="--pod-cidr"):
        world.groups().resize("workers", 900, OPTIONS)
    assert cloud.stacks.records["demo-workers-1"].stack.status == "CREATE_COMPLETE"
    world.groups().resize("workers", 3, OPTIONS)


def test_resize_drains_and_removes_newest(world, kube):
    world.groups().resize("workers", 4, OPTIONS)
    for number, node in enumerate([*NODES[1:], "demo-workers-1-2", "demo-workers-1-3"]):
        run(kube, f"web-{number}", node)
    world.groups().resize("workers", 2, OPTIONS)
    assert nodes(world) == NODES
    assert pods(kube) == ["web-0", "web-1"]
    assert "spec" not in kube.get(KUBE_NODES, NODES[2]), "the others are not cordoned"
    world.groups().resize("workers", 3, OPTIONS)
    assert nodes(world)[-1] == "demo-workers-1-4", "an index is never used again"


def test_resize_removes_broken_nodes_first(world, cloud, kube):
    kube.fail_node(NODES[1], "kubelet stopped")
    world.groups().resize("workers", 1, OPTIONS)
    assert nodes(world) == [NODES[0], NODES[2]]


def test_resize_removes_lost_nodes_first(world, cloud):
    cloud.servers.delete(next(server.id for server in cloud.servers.list("demo") if server.name == NODES[1]))
    world.groups().resize("workers", 1, OPTIONS)
    assert nodes(world) == [NODES[0], NODES[2]]


def test_drain_evicts_what_has_to_go(world, kube):
    run(kube, "web", NODES[2])
    run(kube, "agent", NODES[2], ownerReferences=[{"kind": "DaemonSet", "name": "agent"}])
    run(kube, "static", NODES[2], annotations={"kubernetes.io/config.mirror": "x"})
    world.groups().resize("workers", 1, OPTIONS)
    assert "web" not in pods(kube)
    assert {"agent", "static"} <= set(pods(kube))


def test_drain_waits_for_volumes(world, kube):
    spec = {"attacher": "cinder", "nodeName": NODES[2], "source": {"persistentVolumeName": "pv-1"}}
    kube.create(VOLUME_ATTACHMENTS, {"metadata": {"name": "a"}, "spec": spec})
    with pytest.raises(Failed, match="waiting for volume pv-1 to be detached"):
        world.groups().resize("workers", 1, OPTIONS)
    kube.delete(VOLUME_ATTACHMENTS, "a")
    world.groups().resize("workers", 1, OPTIONS)
    assert nodes(world) == NODES[:2]


BUDGET = "The disruption budget web needs 1 healthy pods and has 1 currently"


def test_blocked_drain_fails_with_budget_and_pod(world, kube):
    run(kube, "web", NODES[2])
    kube.budgets["shop/web"] = BUDGET
    with pytest.raises(Failed, match=f"within 30 s: pod shop/web: {BUDGET}") as raised:
        world.groups().resize("workers", 1, OPTIONS)
    assert "--force" in raised.value.hint
    assert nodes(world) == NODES
    assert is_cordoned(kube, NODES[2])
    assert any(text.startswith(f"draining {NODES[2]}: 0 of 1 drained; pod shop/web: The") for text in world.reported)


def test_blocked_drain_is_forced(world, kube):
    run(kube, "web", NODES[2])
    kube.budgets["shop/web"] = BUDGET
    world.groups().resize("workers", 1, replace(OPTIONS, force=True))
    assert nodes(world) == NODES[:2]


def test_blocked_drain_is_cancelled_by_former_count(world, kube):
    run(kube, "web", NODES[2])
    kube.budgets["shop/web"] = BUDGET
    with pytest.raises(Failed):
        world.groups().resize("workers", 1, OPTIONS)
    world.groups().resize("workers", 2, OPTIONS)
    found = kube.get(KUBE_NODES, NODES[2])
    assert (found["spec"], found["metadata"]["annotations"]) == ({}, {})


def test_resize_outside_limits_or_of_missing_group_is_rejected(world, cloud):
    world.groups().create(GPU)
    with pytest.raises(BadInput, match="5 nodes: node group gpu has the limits 0 to 4"):
        world.groups().resize("gpu", 5, OPTIONS)
    with pytest.raises(NotFound, match="no node group 'gp'") as raised:
        world.groups().resize("gp", 1, OPTIONS)
    assert raised.value.hint == "there are: gpu, workers"
    with pytest.raises(NotFound, match="missing"):
        world.groups(name="missing").resize("gpu", 1, OPTIONS)


def test_delete_group_drains_and_deletes_it(world, cloud, kube):
    world.groups().create(GPU)
    run(kube, "train", GPU_NODES[0])
    world.groups().delete("gpu", OPTIONS)
    assert list(cloud.stacks.records) == ["demo", "demo-workers-1"]
    assert pods(kube) == []
    assert nodes(world) == NODES
    with pytest.raises(NotFound, match="no node group 'gpu'"):
        world.groups().delete("gpu", OPTIONS)


def test_last_workers_are_removed_with_force_only(world):
    for call in (
        lambda options: world.groups().resize("workers", 0, options),
        lambda o: world.groups().delete("workers", o),
    ):
        with pytest.raises(Conflict, match="has the last workers of cluster 'demo'"):
            call(OPTIONS)
    world.groups().resize("workers", 0, replace(OPTIONS, force=True))
    assert nodes(world) == NODES[:1]
    world.groups().delete("workers", OPTIONS)
    assert world.observe().groups == ()


def test_delete_nodes_by_name(world, kube):
    world.groups().create(GPU)
    run(kube, "web", NODES[1])
    world.groups().delete_nodes([NODES[1], GPU_NODES[0]], OPTIONS)
    assert nodes(world) == [NODES[0], GPU_NODES[1], NODES[2]]
    assert pods(kube) == []
    for name in (NODES[0], "nothing"):
        with pytest.raises(NotFound, match=f"no node group has a node '{name}'"):
            world.groups().delete_nodes([name], OPTIONS)


def test_deletion_of_a_node_again_deletes_no_other_one(world, cloud):
    """Heat is slow: the node is still there, although the group is smaller already."""
    world.groups().resize("workers", 4, OPTIONS)
    world.groups().delete_nodes([NODES[2]], OPTIONS)
    world.kube.removed = ()
    world.kube.register(NODES[2])
    member = {"moorage_cluster": "demo", "moorage_group": "workers"}
    cloud.stacks.orphans = [Server("slow", NODES[2], "ACTIVE", metadata=member)]
    world.groups().delete_nodes([NODES[2]], OPTIONS)
    assert world.observe().groups[0].count == 3


def test_change_without_the_key_fails(cloud, kube, world, tmp_path):
    elsewhere = World(cloud, kube, tmp_path / "elsewhere")
    calls = {
        "grow": lambda groups: groups.resize("workers", 3, OPTIONS),
        "shrink": lambda groups: groups.resize("workers", 1, OPTIONS),
        "create": lambda groups: groups.create(GPU),
        "delete": lambda groups: groups.delete("workers", replace(OPTIONS, force=True)),
    }
    for call in calls.values():
        with pytest.raises(Failed, match="private key is on another machine"):
            call(elsewhere.groups())
    assert nodes(world) == NODES


def test_status_of_a_cluster_that_changes(world, cloud):
    cloud.stacks.polls = 30
    world.groups().resize("workers", 3, OPTIONS, wait=False)
    shown = world.observe()
    assert (shown.status, shown.reason) == (
        ClusterStatus.UPDATING,
        "waiting for Nova: 3 of 4 servers started, 3 nodes Ready",
    )
    assert [found.status for found in reconcile.clusters(cloud)] == [ClusterStatus.UPDATING]
    world.groups().resize("workers", 3, OPTIONS)
    cloud.stacks.failing["nodes/0/ready"] = "no GPU"
    cloud.stacks.failing["nodes/1/ready"] = "no GPU"
    with pytest.raises(Failed):
        world.groups().create(replace(GPU, count=1))
    [listed] = reconcile.clusters(cloud)
    assert (listed.status, listed.reason) == (ClusterStatus.FAILED, "no GPU")
    assert world.observe().status is ClusterStatus.FAILED


def test_group_beyond_quota_keeps_what_fitted_and_names_the_rest(world, cloud):
    """Somebody else uses what preflight counted on."""
    quota = (
        "Forbidden: resources.server: Quota exceeded for instances: Requested 1, but already used 20 of 20 instances"
    )
    cloud.stacks.failing |= {f"nodes/{index}/server": quota for index in range(1, 9)}
    with pytest.raises(Failed, match=r"server demo-gpu-1-\d: Quota exceeded for instances"):
        world.groups().create(GPU)
    assert GPU_NODES[0] in [node.name for node in world.observe().nodes if node.ready]
    cloud.stacks.failing.clear()
    world.groups().create(GPU)
    assert world.observe().status is ClusterStatus.READY


def test_stack_of_a_group_that_was_deleted_by_hand_is_recreated_by_create(world, cloud):
    cloud.stacks.delete(cloud.stacks.records["demo-workers-1"].stack)
    while cloud.stacks.list("moorage-node-group"):
        pass
    assert world.observe().groups == ()
    assert world.create().status is ClusterStatus.READY
    assert nodes(world) == NODES


def test_delete_nodes_below_the_minimum_touches_nothing(world, kube):
    world.groups().create(replace(GPU, min_count=1))
    for names, error in ((GPU_NODES, "limits 1 to 4"), (NODES[1:], None)):
        if error:
            with pytest.raises(BadInput, match=error):
                world.groups().delete_nodes(names, OPTIONS)
        else:
            world.groups().delete("gpu", OPTIONS)
            with pytest.raises(Conflict, match="last workers"):
                world.groups().delete_nodes(names, OPTIONS)
        assert not any(is_cordoned(kube, name) for name in names)


def test_delete_group_that_is_in_creation(world, cloud):
    cloud.stacks.polls = 500
    world.groups().create(GPU, wait=False)
    cloud.stacks.polls = 2
    world.groups().delete("gpu", OPTIONS)
    assert list(cloud.stacks.records) == ["demo", "demo-workers-1"]


def test_shrinking_deletes_servers_that_heat_does_not_know_first(world, cloud):
    """Heat would remove another node in place of one that it does not know."""
    member = {"moorage_cluster": "demo", "moorage_group": "workers"}
    cloud.stacks.orphans = [Server("stray", "demo-workers-1-9", "ACTIVE", metadata=member)]
    world.groups().resize("workers", 1, OPTIONS)
    assert cloud.servers.get("stray") is None
    assert nodes(world) == NODES[:2]


def test_drain_does_not_wait_for_volumes_of_pods_that_stay(world, kube):
    run(kube, "agent", NODES[2], ownerReferences=[{"kind": "DaemonSet", "name": "agent"}])
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "agent"}}
    kube.patch(PODS, "shop/agent", {"spec": {"volumes": [claim, {"name": "scratch", "ephemeral": {}}]}})
    kube.create(
        PERSISTENT_VOLUME_CLAIMS, {"metadata": {"namespace": "shop", "name": "agent"}, "spec": {"volumeName": "pv"}}
    )
    spec = {"attacher": "cinder", "nodeName": NODES[2], "source": {"persistentVolumeName": "pv"}}
    kube.create(VOLUME_ATTACHMENTS, {"metadata": {"name": "a"}, "spec": spec})
    world.groups().resize("workers", 1, OPTIONS)
    assert nodes(world) == NODES[:2]


def test_node_that_is_named_twice_is_one_node(world):
    world.groups().resize("workers", 4, OPTIONS)
    world.groups().delete_nodes([NODES[1], NODES[1]], OPTIONS)
    assert nodes(world) == [NODES[0], NODES[2], "demo-workers-1-2", "demo-workers-1-3"]


def test_replace_of_a_node_that_is_not_ready(world, kube):
    kube.fail_node(NODES[1], "kubelet stopped")
    world.groups().replace_nodes([NODES[1]], OPTIONS)
    assert nodes(world) == [NODES[0], NODES[2], "demo-workers-1-2"]
    assert world.observe().status is ClusterStatus.READY


def test_drain_without_the_key_fails(cloud, kube, world, tmp_path):
    elsewhere = World(cloud, kube, tmp_path / "elsewhere")
    with pytest.raises(Failed, match="private key is on another machine"):
        elsewhere.groups().drain_nodes([NODES[1]], 30)


def test_drain_waits_for_an_unreachable_api(world, kube):
    evict, calls = kube.evict, []

    def fail_once(pod):
        calls.append(pod)
        if len(calls) == 1:
            raise KubernetesUnreachable("the Kubernetes API does not answer")
        evict(pod)

    kube.evict = fail_once
    run(kube, "web", NODES[1])
    world.groups().drain_nodes([NODES[1]], 30)
    assert pods(kube) == []


def test_other_verbs_do_not_recreate_a_cluster_that_failed(world, cloud, tmp_path, kube):
    world.delete()
    cloud.stacks.failing["control_plane"] = "No valid host was found."
    with pytest.raises(Failed, match="No valid host"):
        world.create()
    failed = cloud.stacks.records["demo"].stack.id
    for call in (
        world.repair,
        lambda: world.groups().create(GPU),
        lambda: world.groups().resize("workers", 1, OPTIONS),
    ):
        with pytest.raises((Failed, NotFound)):
            call()
        assert cloud.stacks.records["demo"].stack.id == failed


def test_group_is_deleted_with_its_cluster(world, cloud):
    world.groups().create(GPU)
    world.delete()
    assert not cloud.stacks.records
    assert not cloud.servers.list("demo")


def test_interrupted_deletion_of_cluster_finds_groups_without_base_stack(world, cloud):
    del cloud.stacks.records["demo"]  # Heat was faster with that one
    world.delete()
    assert not cloud.stacks.records
    world.create()
    del cloud.stacks.records["demo"]
    assert world.create().status is ClusterStatus.READY, "what is left of the former one is deleted first"
    assert len(nodes(world)) == len(NODES)


def test_replace_drains_then_creates_another_one(world, kube):
    run(kube, "web", NODES[1])
    world.groups().replace_nodes([NODES[1]], OPTIONS)
    assert nodes(world) == [NODES[0], NODES[2], "demo-workers-1-2"]
    assert pods(kube) == []


def test_drain_cordons_and_evicts_only(world, kube):
    run(kube, "web", NODES[1])
    world.groups().drain_nodes([NODES[1]], 30)
    assert (nodes(world), pods(kube)) == (NODES, [])
    assert kube.get(KUBE_NODES, NODES[1])["spec"] == {"unschedulable": True}
    run(kube, "db", NODES[2])
    kube.budgets["shop/db"] = BUDGET
    with pytest.raises(Failed, match=BUDGET):
        world.groups().drain_nodes([NODES[2]], 30)


def test_two_runs_that_take_turns_end_in_the_same_cluster(cloud, kube, tmp_path):
    """As processes that call `step` do; one of them is killed between any two steps."""
    for killed in count(1):
        cloud, kube = MemoryCloud(), Joined()
        world = World(cloud, kube, tmp_path / str(killed))
        executors = [world.executor(), world.executor()]
        steps = 0
        while not executors[steps % len(executors)].step():
            steps += 1
            if steps == killed:
                executors.pop()
        assert nodes(world) == NODES
        if killed > steps:
            assert killed > 4
            return


VERBS = {
    "create": lambda groups: groups.create(GPU),
    "grow": lambda groups: groups.resize("workers", 3, OPTIONS),
    "shrink": lambda groups: groups.resize("workers", 1, OPTIONS),
    "delete": lambda groups: groups.delete("workers", replace(OPTIONS, force=True)),
    "replace": lambda groups: groups.replace_nodes([NODES[2]], OPTIONS),
}
ENDS = {
    "create": [NODES[0], *GPU_NODES, *NODES[1:]],
    "grow": [*NODES, "demo-workers-1-2"],
    "shrink": NODES[:2],
    "delete": NODES[:1],
    "replace": [*NODES[:2], "demo-workers-1-2"],
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_change_killed_at_every_call_resumes(tmp_path, verb, after):
    for number in count(1):
        cloud, kube, life = MemoryCloud(), Joined(), Life()
        world = World(cloud, kube, tmp_path / str(number))
        world.create()
        run(kube, "web", NODES[2])
        dying = world.groups(Dying(cloud, number, after, life), Dying(kube, number, after, life))
        try:
            VERBS[verb](dying)
        except Killed:
            try:
                VERBS[verb](world.groups())
            except NotFound:
                assert verb in ("delete", "replace"), "it was deleted before"
            assert nodes(world) == ENDS[verb]
            assert world.observe().status is ClusterStatus.READY
            continue
        assert number > 8
        return
