"""The loop against a cloud in memory: to the end, after a kill at every call, and through faults."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from clustering import NODES, SPEC, Clock, Dying, Joined, Killed, World
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.memory.stacks import RETRY_POLLS
from moorage.cloud.port.network import NetworkResource, Port
from moorage.cloud.port.servers import Flavor, Server
from moorage.cloud.port.stacks import StackRequest
from moorage.clusters import reconcile
from moorage.clusters.parameters import base_tag
from moorage.clusters.progress import PollInterval
from moorage.kube.port import NODES as KUBE_NODES
from moorage.model.cluster import ClusterSpec, ClusterStatus, NodeGroup
from moorage.model.errors import (
    BadInput,
    CloudUnreachable,
    Conflict,
    Failed,
    KubernetesUnreachable,
    NotFound,
    QuotaExceeded,
    TimedOut,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def cloud():
    return MemoryCloud()


@pytest.fixture
def kube():
    return Joined()


@pytest.fixture
def world(cloud, kube, tmp_path):
    return World(cloud, kube, tmp_path)


def lives(kube, folder, after):
    """Worlds without end, each with a client that is killed one call later than in the world before."""
    for number in count(1):
        cloud = MemoryCloud()
        yield number, World(cloud, kube, folder / str(number)), Dying(cloud, number, after)


def delete_server(cloud, name):
    """Delete a server behind Heat's back; returns its id."""
    (id,) = (server.id for server in cloud.servers.list("demo") if server.name == name)
    cloud.servers.delete(id)
    return id


def test_create_cluster_and_ask_it_with_clients_key(world, cloud, kube):
    made = world.create()
    assert made.status is ClusterStatus.READY
    assert [node.name for node in made.nodes] == NODES
    assert all(node.ready for node in made.nodes)
    assert made.api_url == "https://172.24.4.20:6443"
    assert kube.access_used.key == world.files()[0].read_text()
    assert [step.seconds for step in made.progress] == sorted(step.seconds for step in made.progress)
    assert "PRIVATE KEY" not in str(cloud.stacks.records["demo"])


def test_create_again_returns_cluster_and_other_spec_conflicts(world, cloud):
    world.create()
    first = cloud.stacks.records["demo"].stack.id
    assert world.create().status is ClusterStatus.READY
    assert cloud.stacks.records["demo"].stack.id == first
    with pytest.raises(Conflict, match="count of workers 2, not 3"):
        world.create(ClusterSpec("demo", (NodeGroup(count=3),)))


def test_create_without_wait_ends_after_request(world, cloud):
    cloud.stacks.polls = 9
    made = world.create(wait=False)
    assert made.status is ClusterStatus.CREATING
    assert {record.stack.status for record in cloud.stacks.records.values()} == {"CREATE_IN_PROGRESS"}
    assert len(cloud.stacks.records) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_create_killed_at_every_call_resumes(kube, tmp_path, after):
    for number, world, dying in lives(kube, tmp_path, after):
        try:
            world.create(cloud=dying)
        except Killed:
            assert world.create().status is ClusterStatus.READY
            assert list(world.cloud.stacks.records) == ["demo", "demo-workers-1"]
            continue
        assert number > 8
        return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_create_killed_at_every_call_can_be_deleted(kube, tmp_path, after):
    for _, world, dying in lives(kube, tmp_path, after):
        try:
            world.create(cloud=dying)
        except Killed:
            try:
                world.delete()
            except NotFound:
                assert not world.cloud.stacks.records
            assert not world.cloud.stacks.records
            assert not world.files()
            continue
        return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_delete_killed_at_every_call_resumes(kube, tmp_path, after):
    for number, world, dying in lives(kube, tmp_path, after):
        world.create()
        try:
            world.delete(cloud=dying)
        except Killed:
            world.delete()
            assert not world.cloud.stacks.records
            assert not world.files()
            continue
        assert number > 4
        return


def test_create_resumes_stack_of_dead_engine(world, cloud):
    cloud.stacks.engine_dead = True
    assert world.create().status is ClusterStatus.READY
    assert [text for text in world.reported if "resuming it" in text]
    assert cloud.stacks.records["demo"].stack.id == "stack-1", "and nothing was recreated"
    cloud.stacks.polls, cloud.stacks.engine_dead = 3, False
    cloud.stacks.delete(cloud.stacks.records["demo"].stack)
    cloud.stacks.engine_dead = True
    world.delete()
    assert not cloud.stacks.records


@pytest.mark.parametrize(
    "duplicated",
    [
        {"router_interface": ""},
        {"control_plane": "unknown-1"},
        {"nodes/0/server": "unknown-1"},
        {"router_interface": "", "nodes/1/server": "unknown-1"},
    ],
    ids=["interface", "control-plane", "worker", "both"],
)
def test_create_deletes_unrecorded_resources_that_block_heat(world, cloud, duplicated):
    cloud.stacks.duplicated = dict(duplicated)
    made = world.create()
    assert made.status is ClusterStatus.READY
    assert cloud.stacks.duplicated == {}
    assert "unknown-1" not in {server.id for server in cloud.servers.list("demo")}
    assert len(cloud.servers.list("demo")) == len(NODES)


def test_replacement_deletes_server_that_heat_does_not_know(world, cloud):
    world.create()
    delete_server(cloud, NODES[1])
    cloud.stacks.failing |= {f"nodes/{index}/server": "Nova died" for index in (2, 3)}
    with pytest.raises(Failed, match="Nova died"):
        world.create()
    cloud.stacks.failing.clear()
    cloud.stacks.duplicated = {"nodes/3/server": "unknown-1"}
    assert world.create().status is ClusterStatus.READY
    assert "deleting server demo-workers-1-3, which is not complete in Heat" in world.reported
    assert len(cloud.servers.list("demo")) == len(NODES)
    assert cloud.stacks.records["demo"].stack.id == "stack-1", "and nothing else was recreated"


def test_create_reports_failed_nodes_message(world, cloud):
    why = "WaitConditionFailure: resources.ready: kubelet.service: no space left"
    cloud.stacks.failing |= {f"nodes/{index}/ready": why for index in (1, 2)}
    with pytest.raises(Failed, match=r"node demo-workers-1-2: kubelet\.service: no space left"):
        world.create()
    shown = world.observe()
    assert shown.status is ClusterStatus.FAILED
    assert shown.reason == "node demo-workers-1-2: kubelet.service: no space left", "the first one was replaced"
    world.delete()
    assert not cloud.stacks.records


def test_create_recreates_stack_after_transient_failure(world, cloud):
    cloud.stacks.failing["network"] = (
        "ConnectFailure: resources.network: Unable to establish connection to http://neutron"
    )

    def repair_fault(text):
        world.reported.append(text)
        if "recreating" in text:
            cloud.stacks.failing.clear()

    made = reconcile.create(cloud, world.kube.connect, world.folder, SPEC, repair_fault, poll=Clock().poll)
    assert made.status is ClusterStatus.READY


def test_deleted_worker_is_reported_and_replaced(world, cloud, kube):
    world.create()
    missing = delete_server(cloud, NODES[1])
    shown = world.observe()
    assert shown.status is ClusterStatus.DEGRADED
    assert shown.reason == f"server {NODES[1]} is gone: moorage cluster repair demo replaces it"
    made = world.repair()
    assert made.status is ClusterStatus.READY
    assert [node.name for node in made.nodes] == [NODES[0], NODES[2], "demo-workers-1-2"], "a name is never reused"
    assert missing not in {server.id for server in cloud.servers.list("demo")}
    assert kube.removed == (NODES[1],)
    token = cloud.stacks.updated_parameters["demo-workers-1"]["bootstrap_token"]
    id, _, secret = token.partition(".")
    assert kube.secrets()[f"bootstrap-token-{id}"]["token-secret"] == secret
    statuses = {name: record.stack.status for name, record in cloud.stacks.records.items()}
    assert statuses == {"demo": "CREATE_COMPLETE", "demo-workers-1": "UPDATE_COMPLETE"}


def test_repair_of_whole_or_missing_cluster_changes_nothing(world, cloud):
    with pytest.raises(NotFound, match="no cluster 'demo'"):
        world.repair()
    world.create()
    before = {name: record.stack for name, record in cloud.stacks.records.items()}
    assert world.repair().status is ClusterStatus.READY
    assert {name: record.stack for name, record in cloud.stacks.records.items()} == before


def test_deleted_worker_is_missing_before_kubernetes_notices(world, cloud, kube):
    world.create()
    kube.slow = True
    delete_server(cloud, NODES[1])
    assert world.observe().status is ClusterStatus.DEGRADED
    world.create()
    assert kube.removed == (NODES[1],)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_replacement_killed_at_every_call_resumes(kube, tmp_path, after):
    for number, world, dying in lives(kube, tmp_path, after):
        world.create()
        delete_server(world.cloud, NODES[2])
        try:
            world.create(cloud=dying)
        except Killed:
            assert world.create().status is ClusterStatus.READY
            continue
        assert number > 8
        return


def test_renamed_server_is_the_same_server(world, cloud, kube):
    world.create()
    (id,) = (server.id for server in cloud.servers.list("demo") if server.name == NODES[1])
    kube.patch(KUBE_NODES, NODES[1], {"spec": {"providerID": f"openstack:///{id}"}})
    cloud.stacks.renamed[id] = "web-1"
    shown = world.observe()
    assert shown.status is ClusterStatus.READY
    assert sorted(node.name for node in shown.nodes if node.ready) == NODES
    assert world.create().status is ClusterStatus.READY
    assert cloud.stacks.records["demo"].stack.status == "CREATE_COMPLETE", "nothing was replaced"
    world.delete()
    assert "deleting server web-1" in world.reported
    assert cloud.servers.get(id) is None


def test_deleted_control_plane_is_reported(world, cloud):
    world.create()
    delete_server(cloud, NODES[0])
    world.kube.unreachable = "the Kubernetes API does not answer"
    with pytest.raises(Failed, match=f"server {NODES[0]} is gone, and with it the cluster's etcd"):
        world.create()
    assert world.observe().reason.startswith(f"server {NODES[0]} is gone, and with it")


@pytest.mark.parametrize("reason", ["No valid host was found.", "Unable to establish connection to http://nova"])
def test_failed_replacement_keeps_cluster(world, cloud, reason):
    world.create()
    delete_server(cloud, NODES[1])
    cloud.stacks.failing |= {f"nodes/{index}/server": reason for index in (2, 3)}
    with pytest.raises(Failed, match=f"this failed: server demo-workers-1-3: {reason}") as raised:
        world.create()
    assert raised.value.hint.startswith("fix the cause, then run this command again"), "not first: delete it"
    cloud.stacks.failing.clear()
    assert world.create().status is ClusterStatus.READY
    assert cloud.stacks.records["demo"].stack.id == "stack-1", "and nothing was recreated"


def test_failed_replacement_is_repaired_once(world, cloud):
    world.create()
    delete_server(cloud, NODES[1])
    cloud.stacks.failing["nodes/2/server"] = "Unable to establish connection to http://nova"
    made = world.create()
    assert [node.name for node in made.nodes] == [NODES[0], NODES[2], "demo-workers-1-3"]


def test_lost_answer_creates_no_second_stack(world, cloud):
    cloud.stacks.lost_answers = 1
    assert world.create().status is ClusterStatus.READY
    assert cloud.stacks.records["demo"].stack.id == "stack-1"


def test_create_waits_for_unreachable_cloud(world, cloud):
    clock = Clock()

    def sleep(seconds):
        clock.sleep(seconds)
        cloud.fail("Heat does not answer" if 2 < clock.time < 30 else "")

    poll = PollInterval(1.0, lambda: clock.time, sleep)
    made = reconcile.create(cloud, world.kube.connect, world.folder, SPEC, world.reported.append, poll=poll)
    assert made.status is ClusterStatus.READY
    assert any("waiting for the cloud" in text for text in world.reported)


def test_create_with_unreachable_cloud_fails_at_once(world, cloud):
    cloud.fail("Keystone does not answer at http://172.24.4.1:5000")
    with pytest.raises(CloudUnreachable, match="Keystone"):
        world.create()
    assert not world.files()


def test_create_with_bad_input_creates_nothing(world, cloud):
    cloud.servers.flavor_list = [Flavor("tiny", "f0", 1, 512, 1)]
    with pytest.raises(BadInput, match=r"m1\.node"):
        world.create()
    assert not cloud.stacks.records
    assert not world.files()


def test_create_beyond_quota_creates_nothing(world, cloud):
    cloud.network.limits["ports"] = 3
    with pytest.raises(QuotaExceeded, match="needed 5, available 3"):
        world.create()
    assert not cloud.stacks.records


def test_create_with_unready_node_times_out_with_reason(world, kube):
    kube.fail_node(NODES[1], "container runtime is down")
    with pytest.raises(TimedOut, match="container runtime is down"):
        world.create(timeout=60)
    assert world.observe().status is ClusterStatus.DEGRADED


def test_other_machine_sees_cluster_without_key(world, cloud, kube, tmp_path):
    world.create()
    elsewhere = World(cloud, kube, tmp_path / "elsewhere")
    assert elsewhere.observe().status is ClusterStatus.UNKNOWN
    assert [found.name for found in reconcile.clusters(cloud)] == ["demo"]
    with pytest.raises(Conflict, match="not on this machine"):
        reconcile.access(cloud, kube.connect, elsewhere.folder, "demo")
    elsewhere.delete()
    assert not cloud.stacks.records


def test_observe_hundred_clusters_with_few_calls(world, cloud):
    world.create(ClusterSpec("demo", (NodeGroup(count=2), NodeGroup("other", 2))))
    requests = [record.request for record in cloud.stacks.records.values()]
    for number in range(99):
        base, *groups = (renamed(request, f"c{number}") for request in requests)
        cloud.stacks.create(base)
        tag = base_tag(cloud.stacks.get(base.name))
        for group in groups:
            cloud.stacks.create(replace(group, tags=(*group.tags, tag)))
    for _ in range(cloud.stacks.polls + 1):
        reconcile.clusters(cloud)
    counted = Dying(cloud, -1, after=False)
    found = reconcile.clusters(counted)
    assert [len(cluster.nodes) for cluster in found] == [5] * 100
    assert counted.life.calls == 3


def renamed(request, name):
    """A request for another cluster's stack."""
    cluster = {**request.parameters.get("cluster", {}), "name": name}
    own = {"cluster": cluster} if "cluster" in request.parameters else {}
    values = {**request.parameters, **own, "name": request.parameters["name"].replace("demo", name)}
    return replace(request, name=request.name.replace("demo", name), parameters=values)


def test_list_names_server_that_does_not_run(world, cloud):
    world.create()
    stopped = replace(cloud.servers.list("demo")[1], id="stopped", name="demo-workers-1-9", status="SHUTOFF")
    cloud.stacks.orphans.append(stopped)
    [found] = reconcile.clusters(cloud)
    assert (found.status, found.reason) == (ClusterStatus.DEGRADED, "server demo-workers-1-9 is SHUTOFF")


def test_clusters_of_one_name_in_two_regions_have_their_own_keys(world, kube, tmp_path):
    world.create()
    other = World(MemoryCloud(), kube, tmp_path)
    other.cloud.identity.region = "RegionTwo"
    other.create()
    first, second = (path.read_text() for path in world.files())
    assert first != second
    other.delete()
    assert len(world.files()) == 1
    kube.cloud = world.cloud
    assert world.observe().status is ClusterStatus.READY


def test_delete_retries_failed_stack_and_gives_up(world, cloud):
    world.create()
    cloud.stacks.failing_deletions = 1
    world.delete()
    assert not cloud.stacks.records
    world.create()
    cloud.stacks.failing_deletions = 9
    with pytest.raises(Failed, match="port in use"):
        world.delete()
    assert world.files()


def test_delete_includes_servers_unknown_to_heat(world, cloud):
    world.create()
    cloud.stacks.orphans = [Server("x", "demo-workers-1-9", "ACTIVE", metadata={"moorage_cluster": "demo"})]
    done = world.delete()
    assert not any("deletion failed" in line for line in world.reported), "Heat need not fail first"
    assert done.progress[-1].seconds < RETRY_POLLS / 4
    assert "deleting server demo-workers-1-9" in world.reported
    assert not cloud.stacks.records
    assert not cloud.stacks.orphans


def test_interrupted_delete_deletes_network_that_heat_does_not_know(world, cloud):
    world.create()
    del cloud.stacks.records["demo"]  # Heat completed meanwhile
    resources = [NetworkResource(kind, f"{kind}-9", "demo") for kind in ("network", "router", "security group")]
    cloud.network.untracked["demo"] = {resource.id: resource for resource in resources}
    cloud.network.untracked_ports["port-9"] = ("network-9", Port("port-9", "compute:nova", "gone"))
    world.delete()
    assert not world.files()
    assert not cloud.network.untracked["demo"]
    assert not cloud.network.untracked_ports
    assert "deleting router demo" in world.reported


def test_delete_refuses_network_with_foreign_server_before_deleting(world, cloud):
    world.create()
    (network,) = (found.id for found in cloud.network.owned("demo") if found.kind == "network")
    cloud.stacks.orphans = [Server("x", "theirs", "ACTIVE", metadata={"moorage_cluster": "another"})]
    cloud.network.untracked_ports["port-9"] = (network, Port("port-9", "compute:nova", "x"))
    with pytest.raises(Failed, match="server theirs, which is not the cluster's, has a port in its network"):
        world.delete()
    assert world.observe().status is ClusterStatus.READY


def test_delete_does_not_touch_later_cluster_of_same_name(world, cloud, kube, tmp_path):
    """Somebody creates another one as soon as the first one's stack is deleted."""
    world.create()
    owned, elsewhere = cloud.network.owned, World(cloud, kube, tmp_path / "elsewhere")

    def create_then_list(cluster):
        if "demo" not in cloud.stacks.records:
            elsewhere.create()
        return owned(cluster)

    cloud.network.owned = create_then_list
    with pytest.raises(Conflict, match="another cluster 'demo' was created meanwhile"):
        world.delete()
    assert elsewhere.observe().status is ClusterStatus.READY
    assert len(cloud.identity.created) == 1


def test_delete_without_wait_is_verified_later(world, cloud):
    world.create()
    cloud.stacks.polls = 20
    world.delete(wait=False)
    assert cloud.stacks.records["demo"].stack.status == "DELETE_IN_PROGRESS"
    assert world.files(), "the key stays until nothing else is left"
    world.delete(wait=False)
    world.delete()
    assert not cloud.stacks.records
    assert not world.files()


def test_delete_stops_creation_first(world, cloud):
    cloud.stacks.polls = 8
    world.create(wait=False)
    while not cloud.servers.list("demo"):
        world.observe()
    world.reported.clear()
    world.delete()
    assert world.reported[0] == "stopping Heat: demo-workers-1 is CREATE_IN_PROGRESS"
    assert not cloud.stacks.records


def test_delete_missing_cluster_is_not_found(world):
    with pytest.raises(NotFound, match="missing"):
        world.delete("missing")


def test_foreign_stack_is_not_changed(world, cloud):
    cloud.stacks.create(StackRequest("demo", "resources: {x: {type: 'OS::Heat::None'}}", {}, {}, ("theirs",)))
    for call in (world.create, world.delete, world.observe):
        with pytest.raises(Conflict, match="not a cluster of Moorage"):
            call()
    assert "demo" in cloud.stacks.records


def test_cluster_gets_credential_and_delete_revokes_it(world, cloud):
    world.create()
    assert [owner for owner, _ in cloud.identity.created] == ["demo"]
    world.delete()
    assert cloud.identity.created == []


def test_delete_without_permission_to_revoke_keeps_credential(world, cloud):
    """A restricted application credential may revoke no other."""

    def refuse(id):
        raise BadInput("Keystone refused: Insufficient permissions.")

    world.create()
    [(_, credential)] = cloud.identity.created
    cloud.identity.delete_credential = refuse
    done = world.delete()
    assert [(kept.kind, kept.id) for kept in done.kept] == [("application credential", credential.id)]
    assert not cloud.stacks.records
    assert not world.files()


def test_cluster_without_cloud_provider_gets_no_credential(world, cloud):
    world.create(replace(SPEC, cloud_provider=""))
    assert cloud.identity.created == []
    with pytest.raises(Conflict, match="no-cloud-provider"):
        world.renew()


def test_create_without_permission_for_credentials_creates_nothing(world, cloud):
    cloud.identity.allow_credentials = False
    with pytest.raises(BadInput, match="credential"):
        world.create()
    assert cloud.stacks.records == {}


def test_renew_credential_updates_before_revoking(world, cloud, kube):
    world.create()
    [(_, first)] = cloud.identity.created
    world.renew()
    [(_, second)] = cloud.identity.created
    assert first.id != second.id
    assert second.secret in kube.secrets()["moorage-cloud"]["clouds.yaml"]
    kube.unreachable = "the API is away"
    with pytest.raises(KubernetesUnreachable):
        world.renew()
    assert second in [one for _, one in cloud.identity.created], "what the cluster uses stays"


def test_cluster_that_cannot_reach_its_cloud_is_degraded(world, kube):
    world.create()
    kube.report_problem("Keystone refused the credentials of the cloud 'moorage'")
    seen = world.observe()
    assert seen.status is ClusterStatus.DEGRADED
    assert "Keystone refused" in seen.reason
