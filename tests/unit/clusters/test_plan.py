"""The plan as a table: what is observed, and the step that follows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import parameters, plan
from moorage.clusters.deletion.infrastructure import MAX_DELETIONS, plan_stack
from moorage.clusters.kubernetes import KubeNode, group_record
from moorage.clusters.parameters import recorded_group
from moorage.clusters.progress import UNCHANGED_LIMIT, UNCHANGED_LIMIT_AFTER_OUTAGE, Unchanged
from moorage.clusters.state import DesiredState, Kubernetes, Observed, ObservedStack
from moorage.clusters.steps import (
    MAX_ATTEMPTS,
    AddNodes,
    Attempts,
    CancelRemoval,
    CreateBase,
    CreateGroup,
    DeleteInfrastructure,
    DeleteNodes,
    DeleteServers,
    DeleteStack,
    Done,
    Fail,
    RecordGroups,
    RemoveNodes,
    ReplaceNodes,
    UpdateStack,
    Wait,
)
from moorage.model.cluster import ClusterSpec, NodeGroup

pytestmark = pytest.mark.unit

GROUP = NodeGroup(count=1)
SPEC = ClusterSpec("demo", (GROUP,), flavor="m1.node")
FIRST = KubeNode("demo-control-plane-0", True, group="control-plane")
SECOND = KubeNode("demo-workers-1-0", True, group="workers")
WELL = Kubernetes([FIRST, SECOND], dns=True)
NO_DNS = Kubernetes(WELL.nodes, dns=False)
ONE_NODE = Kubernetes(WELL.nodes[:1], dns=True)
SICK = Kubernetes([FIRST, replace(SECOND, ready=False, reason="runtime is down")], dns=True)
SILENT = Kubernetes(unreachable="the Kubernetes API does not answer")
REFUSED = Kubernetes(WELL.nodes, dns=True, problem="revoked")
BROKEN = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_FAILED", "No valid host was found.")
DIED = StackResource(("network",), "OS::Neutron::Net", "CREATE_FAILED", "Unable to establish connection to http://n")
READY = StackResource(("control_plane_ready",), "OS::Heat::WaitCondition", "CREATE_COMPLETE")
HELD = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="c")
WORKER = StackResource(("nodes", "0", "server"), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="w")
REFUSED_WORKER = StackResource(
    ("nodes", "0", "server"), "OS::Nova::Server", "CREATE_FAILED", "No valid host was found."
)
LATE = StackResource(("nodes", "0", "ready"), "OS::Heat::WaitCondition", "CREATE_FAILED", "0 of 1 received")
FLEET = [Server(f"s{n}", f"demo-workers-1-{n}", "ACTIVE", metadata={"moorage_group": "workers"}) for n in range(12)]
UNKNOWN = Server("x", "demo-workers-1-0", "ACTIVE", metadata={"moorage_role": "worker"})
BOOTING = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_IN_PROGRESS")
BOOTED = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_COMPLETE")
WORKER_BOOTING = StackResource(("nodes", "0", "server"), "OS::Nova::Server", "CREATE_IN_PROGRESS")
PORT_COMPLETE = StackResource(("control_plane_port",), "OS::Neutron::Port", "CREATE_COMPLETE")
ADDRESSES = [PORT_COMPLETE, StackResource(("floating_ip",), "OS::Neutron::FloatingIP", "CREATE_COMPLETE")]
STUCK = Unchanged(UNCHANGED_LIMIT)
SHORT = Unchanged(UNCHANGED_LIMIT_AFTER_OUTAGE)


def base(status, *resources, unchanged=Unchanged(), lost=()):  # noqa: B008
    values = {name: getattr(SPEC, name) for name in parameters.RECORDED}
    found = {**values, "image": "image-1", "dns_nameservers": "", "registry_mirrors": "{}"}
    return ObservedStack(Stack("id", "demo", status, parameters=found), resources, unchanged, lost)


def group(status, *resources, count=1, **words):
    values = {"group": "workers", "count": str(count), "flavor": "m1.node", "image": "image-1", "labels": "{}"}
    values |= {"taints": "[]", "zones": "[]", "min_count": "0", "max_count": "1000"}
    values |= {"revision": "1", "desired_count": "-1", "max_surge": "1", "max_unavailable": "0"}
    return ObservedStack(Stack("g", "demo-workers-1", status, parameters=values), resources, **words)


def revision(number, status, count):
    entry = group(status, count=count)
    values = {**entry.stack.parameters, "revision": str(number), "desired_count": "2"}
    return replace(entry, stack=replace(entry.stack, name=f"demo-workers-{number}", parameters=values))


def plan_for(spec, observed, attempts, **desired):
    return plan.plan_cluster(DesiredState(spec, **{"creates": True, **desired}), observed, attempts)


COMPLETE, COMPLETE_GROUP = base("CREATE_COMPLETE"), group("CREATE_COMPLETE")


@pytest.mark.parametrize(
    ("observed", "kind", "reported"),
    [
        (Observed(None), CreateBase, ""),
        (Observed(None, key=True), CreateBase, ""),
        (Observed(None, [COMPLETE_GROUP]), DeleteInfrastructure, "previous"),
        (Observed(base("CREATE_IN_PROGRESS"), key=True), Wait, "Neutron"),
        (Observed(base("CREATE_IN_PROGRESS", PORT_COMPLETE), key=True), Wait, "Neutron"),
        (Observed(base("CREATE_IN_PROGRESS", *ADDRESSES), key=True), CreateGroup, "new_token=False"),
        (Observed(base("CREATE_IN_PROGRESS", *ADDRESSES)), Wait, "Neutron"),
        (Observed(COMPLETE, key=True, kubernetes=ONE_NODE), CreateGroup, "new_token=True"),
        (Observed(COMPLETE, key=True, kubernetes=SILENT), Wait, "does not answer"),
        (Observed(COMPLETE), Fail, "private key"),
        (Observed(base("CREATE_IN_PROGRESS", BOOTING), [group("CREATE_IN_PROGRESS")]), Wait, "0 of 2 servers"),
        (Observed(base("CREATE_IN_PROGRESS", BOOTED), [group("CREATE_IN_PROGRESS")]), Wait, "1 of 2 servers"),
        (Observed(base("CREATE_IN_PROGRESS", BOOTED), [COMPLETE_GROUP], True, WELL), Done, ""),
        (Observed(COMPLETE, [group("CREATE_IN_PROGRESS", WORKER)], True, WELL), Done, ""),
        (Observed(COMPLETE, [group("CREATE_IN_PROGRESS", WORKER_BOOTING)], True, WELL), Wait, "1 of 2 servers"),
        (Observed(base("CREATE_IN_PROGRESS", BOOTING, unchanged=STUCK), [COMPLETE_GROUP]), UpdateStack, "resuming"),
        (Observed(COMPLETE, [group("UPDATE_IN_PROGRESS", unchanged=STUCK)]), UpdateStack, "demo-workers-1"),
        (Observed(base("CREATE_IN_PROGRESS", BOOTING, unchanged=SHORT), [COMPLETE_GROUP]), Wait, "1 of 2 servers"),
        (
            Observed(
                base("CREATE_IN_PROGRESS", BOOTING, unchanged=replace(SHORT, unresponsive=True)), [COMPLETE_GROUP]
            ),
            UpdateStack,
            "resuming",
        ),
        (Observed(base("CREATE_IN_PROGRESS", BOOTED, unchanged=STUCK), [COMPLETE_GROUP], True, WELL), Done, ""),
        (Observed(base("CREATE_COMPLETE", unchanged=STUCK), [COMPLETE_GROUP], True, SILENT), Wait, "does not answer"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, REFUSED), Wait, "cannot reach its cloud: revoked"),
        (Observed(base("CREATE_FAILED", BROKEN)), DeleteInfrastructure, "No valid host"),
        (Observed(base("CREATE_FAILED", DIED), [group("CREATE_IN_PROGRESS")]), DeleteInfrastructure, "recreating"),
        (Observed(base("UPDATE_FAILED", BROKEN)), DeleteInfrastructure, "recreating"),
        (Observed(COMPLETE, [COMPLETE_GROUP]), Done, "another machine"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, None), Wait, "not asked"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, SILENT), Wait, "does not answer"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, ONE_NODE), Wait, "1 of 2 Ready"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, SICK), Wait, "runtime is down"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, NO_DNS), Wait, "CoreDNS"),
        (Observed(COMPLETE, [COMPLETE_GROUP], True, WELL), Done, ""),
        (Observed(base("UPDATE_COMPLETE"), [group("UPDATE_COMPLETE")], True, WELL), Done, ""),
        (Observed(base("CREATE_FAILED", DIED, READY), [COMPLETE_GROUP], True, ONE_NODE), UpdateStack, "retry what"),
        (Observed(base("UPDATE_FAILED", BROKEN, READY, lost=[HELD]), (), True, SILENT), Fail, "No valid host"),
        (
            Observed(COMPLETE, [group("CREATE_FAILED", REFUSED_WORKER, lost=[WORKER])], True, ONE_NODE),
            ReplaceNodes,
            "repairing the node group (server demo-workers-1-0: No valid host was found.)",
        ),
        (
            Observed(base("CREATE_IN_PROGRESS", *ADDRESSES), [group("CREATE_FAILED", lost=[WORKER])], True),
            ReplaceNodes,
            "new_token=False",
        ),
        (Observed(COMPLETE, [group("UPDATE_FAILED", DIED)], True, ONE_NODE), UpdateStack, "retry what failed"),
        (Observed(COMPLETE, [group("UPDATE_FAILED", DIED, count=9)], True, ONE_NODE, FLEET), RemoveNodes, "size=1"),
        (Observed(COMPLETE, [group("CREATE_FAILED", LATE, lost=[WORKER])], True, WELL), UpdateStack, "retry what"),
        (Observed(COMPLETE, [group("CREATE_FAILED", LATE, lost=[WORKER])], True, SICK), ReplaceNodes, "no signal"),
        (Observed(COMPLETE, [group("UPDATE_FAILED", DIED, lost=[WORKER])]), UpdateStack, "retry what failed"),
        (Observed(COMPLETE, [group("UPDATE_FAILED", DIED, lost=[WORKER])], True, SILENT), Wait, "does not answer"),
        (
            Observed(COMPLETE, [group("UPDATE_FAILED", lost=[WORKER], untracked=[UNKNOWN])], True, ONE_NODE),
            DeleteServers,
            "demo-workers-1-0",
        ),
        (Observed(COMPLETE, [group("CREATE_COMPLETE", lost=[WORKER])], True, ONE_NODE), ReplaceNodes, "0 is gone"),
        (Observed(COMPLETE, [group("CREATE_COMPLETE", lost=[WORKER])], True, SILENT), Wait, "does not answer"),
        (Observed(COMPLETE, [group("CREATE_COMPLETE", lost=[WORKER])]), Done, "another machine"),
        (
            Observed(base("CREATE_COMPLETE", lost=[HELD]), [group("CREATE_COMPLETE", lost=[WORKER])], True, SILENT),
            Fail,
            "with it the cluster's etcd",
        ),
        (Observed(COMPLETE, [group("DELETE_IN_PROGRESS")], True, WELL), Wait, "being deleted"),
        (Observed(COMPLETE, [group("DELETE_FAILED")], True, WELL), DeleteStack, "workers"),
        (Observed(COMPLETE, [group("CREATE_COMPLETE", count=0)], True, ONE_NODE), AddNodes, "size=1"),
        (Observed(COMPLETE, [group("CREATE_COMPLETE", count=0)], True, SILENT), Wait, "does not answer"),
        (Observed(base("DELETE_IN_PROGRESS")), DeleteInfrastructure, "previous"),
        (Observed(base("DELETE_FAILED")), DeleteInfrastructure, "previous"),
    ],
)
def test_plan_cluster_returns_step(observed, kind, reported):
    step = plan_for(SPEC, observed, Attempts())
    assert isinstance(step, kind)
    assert reported in str(step)


def test_plan_cluster_without_workers_does_not_wait_for_dns():
    empty = replace(SPEC, groups=(replace(GROUP, count=0),))
    observed = Observed(COMPLETE, [group("UPDATE_COMPLETE", count=0)], True, replace(ONE_NODE, dns=False))
    assert plan_for(empty, observed, Attempts()) == Done()


def test_plan_cluster_removes_broken_then_marked_then_newest_nodes():
    servers = [
        Server(f"s{n}", f"demo-workers-1-{n}", "ACTIVE", metadata={"moorage_group": "workers"}) for n in range(12)
    ]
    servers[3] = replace(servers[3], name="web-1", status="SHUTOFF")
    nodes = [KubeNode(f"demo-workers-1-{n}", n != 5, server=f"s{n}", group="workers") for n in range(12)]
    nodes[1] = replace(nodes[1], removing=True)
    asked = Kubernetes([FIRST, *nodes], dns=True)
    order = []
    for count in range(11, 5, -1):
        observed = Observed(COMPLETE, [group("UPDATE_COMPLETE", count=12)], True, asked, servers)
        spec = replace(SPEC, groups=(replace(GROUP, count=count),))
        step = plan_for(spec, observed, Attempts())
        assert isinstance(step, RemoveNodes)
        assert step.size == count
        order = [node.rpartition("-")[2] for node in step.nodes]
    assert order == ["5", "3", "1", "11", "10", "9"]


def members(nodes, **words):
    asked = Kubernetes([FIRST, *nodes], dns=True)
    gone = [resource.physical_id for resource in words.get("lost", ())]
    servers = [server for server in FLEET[:3] if server.id not in gone]
    return Observed(COMPLETE, [group("UPDATE_COMPLETE", count=3, **words)], True, asked, servers)


TRIO = [KubeNode(f"demo-workers-1-{n}", True, server=f"s{n}", group="workers") for n in range(3)]
GONE = StackResource(("nodes", "1", "server"), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="s1")


@pytest.mark.parametrize(
    ("observed", "count", "nodes", "lost"),
    [
        (members(TRIO), 2, ["demo-workers-1-0"], 0),
        (
            members([TRIO[0], replace(TRIO[1], ready=False), replace(TRIO[2], removing=True)]),
            2,
            ["demo-workers-1-0"],
            0,
        ),
        (members(TRIO, lost=[GONE]), 2, ["demo-workers-1-0"], 0),
        (members(TRIO, lost=[GONE]), 1, ["demo-workers-1-0"], 1),
        (members(TRIO[1:]), 2, [], 0),
        (members(TRIO), 3, ["demo-workers-1-0"], 0),
    ],
    ids=["named", "before-marked", "before-lost", "then-lost", "never-joined", "replaced"],
)
def test_plan_cluster_removes_the_named_node_first(observed, count, nodes, lost):
    spec = replace(SPEC, groups=(replace(GROUP, count=count),))
    step = plan_for(spec, observed, Attempts(), named=["demo-workers-1-0"])
    assert isinstance(step, RemoveNodes)
    assert (list(step.nodes), len(step.lost), step.size, step.new_token) == (nodes, lost, count, count == 3)
    assert "s0" in step.servers


def test_plan_cluster_removes_a_named_node_once():
    requested = members(TRIO)
    stack = requested.groups[0].stack
    removing = replace(stack, parameters={**stack.parameters, "remove": '["0"]'})
    observed = replace(requested, groups=[replace(requested.groups[0], stack=removing)])
    spec = replace(SPEC, groups=(replace(GROUP, count=3),))
    assert plan_for(spec, observed, Attempts(), named=["demo-workers-1-0"]) == Done()


def test_plan_cluster_deletes_servers_before_their_nodes():
    """A node of which the first boot failed may run pods by now: they must have ended when its Node is deleted."""
    late = replace(WORKER, physical_id="s0")
    observed = Observed(COMPLETE, [group("CREATE_FAILED", LATE, lost=[late])], True, SICK, FLEET[:1])
    assert plan_for(SPEC, observed, Attempts()) == DeleteServers([FLEET[0]])


@pytest.mark.parametrize("status", ["CREATE_FAILED", "UPDATE_FAILED"])
def test_plan_cluster_recreates_for_create_only(status):
    observed = Observed(base(status, BROKEN))
    assert isinstance(plan_for(SPEC, observed, Attempts(), creates=False), Fail)


def test_plan_cluster_bounds_deletions_of_a_group():
    failed = Observed(COMPLETE, [group("DELETE_FAILED", DIED)], True, ONE_NODE)
    bare = replace(SPEC, groups=())
    assert isinstance(plan_for(bare, failed, Attempts(), deleted=["workers"]), DeleteStack)
    attempts = Attempts(repairs=Counter({"demo-workers-1": MAX_ATTEMPTS}))
    assert isinstance(plan_for(bare, failed, attempts, deleted=["workers"]), Fail)


def test_plan_cluster_waits_for_heat_before_it_forgets_a_removal():
    """The stack has the smaller count already, and Nova still has the server."""
    marked = Kubernetes([FIRST, replace(SECOND, removing=True)], dns=True)
    server = Server("s", "demo-workers-1-0", "ACTIVE", metadata={"moorage_group": "workers"})
    empty = replace(SPEC, groups=(replace(GROUP, count=0),))

    def step(status, servers):
        return plan_for(empty, Observed(COMPLETE, [group(status, count=0)], True, marked, servers), Attempts())

    assert isinstance(step("UPDATE_IN_PROGRESS", [server]), Wait)
    assert step("UPDATE_COMPLETE", []) == DeleteNodes(("demo-workers-1-0",))
    assert step("UPDATE_COMPLETE", [server]) == CancelRemoval(("demo-workers-1-0",))


def test_plan_cluster_records_labels_and_taints_of_groups():
    entry = group("CREATE_COMPLETE", count=1)
    parameters = {"labels": '{"a": "b"}', "taints": '[{"key": "k", "value": "v", "effect": "NoSchedule"}]'}
    entry = replace(entry, stack=replace(entry.stack, parameters={**entry.stack.parameters, **parameters}))
    spec = replace(SPEC, groups=(recorded_group(entry.stack),))
    step = plan_for(spec, Observed(COMPLETE, [entry], True, WELL), Attempts())
    assert step == RecordGroups({"demo-workers-1": group_record(recorded_group(entry.stack))})
    assert '"a": "b"' in step.groups["demo-workers-1"]
    recorded = replace(WELL, groups=step.groups)
    assert plan_for(spec, Observed(COMPLETE, [entry], True, recorded), Attempts()) == Done()
    plain = Observed(COMPLETE, [COMPLETE_GROUP], True, recorded)
    assert plan_for(SPEC, plain, Attempts()) == RecordGroups({}), "what is recorded of former groups is removed"
    assert isinstance(plan_for(spec, Observed(COMPLETE, [entry], True, SILENT), Attempts()), Wait)


def test_plan_cluster_removes_broken_nodes_of_former_revisions_first():
    """No node that runs is removed as long as another one would be missing."""
    current = revision(3, "UPDATE_COMPLETE", count=0)
    former = [revision(1, "CREATE_COMPLETE", count=2), revision(2, "CREATE_COMPLETE", count=1)]
    names = ["demo-workers-1-0", "demo-workers-1-1", "demo-workers-2-0"]
    nodes = [KubeNode(name, name != "demo-workers-1-1", server=name, group="workers") for name in names]
    servers = [Server(name, name, "ACTIVE", metadata={"moorage_group": "workers"}) for name in names]
    spec = replace(SPEC, groups=(NodeGroup(count=2, max_surge=1),))
    observed = Observed(COMPLETE, [current, *former], True, Kubernetes([FIRST, *nodes], dns=True), servers)
    step = plan_for(spec, observed, Attempts())
    assert isinstance(step, RemoveNodes)
    assert (step.stack.name, step.nodes, step.size) == ("demo-workers-1", ("demo-workers-1-1",), 1)


def upgrading(nodes, servers, ready, **words):
    """Two former nodes of revision 1, one of revision 2 that may be Ready; two nodes are desired, each all the time."""
    current, former = revision(2, "UPDATE_COMPLETE", count=1), revision(1, "CREATE_COMPLETE", count=2)
    new = KubeNode("demo-workers-2-0", ready, server="new", group="workers")
    servers = [*servers, Server("new", "demo-workers-2-0", "ACTIVE", metadata={"moorage_group": "workers"})]
    former = replace(former, **words)
    return Observed(COMPLETE, [current, former], True, Kubernetes([FIRST, *nodes, new], dns=True), servers)


PAIR = [KubeNode(f"demo-workers-1-{n}", True, server=f"s{n}", group="workers") for n in range(2)]
LATE_SERVER = StackResource(("nodes", "1", "server"), "OS::Nova::Server", "CREATE_FAILED", physical_id="s1")


@pytest.mark.parametrize(
    ("observed", "removed"),
    [
        (upgrading(PAIR, FLEET[:2], ready=False), ()),
        (upgrading(PAIR, FLEET[:2], ready=True), ("demo-workers-1-1",)),
        (upgrading(PAIR, [replace(it, status="MIGRATING") for it in FLEET[:2]], ready=True), ("demo-workers-1-1",)),
        (upgrading(PAIR, FLEET[:2], ready=True, lost=[LATE_SERVER]), ("demo-workers-1-1",)),
        (upgrading([PAIR[0], replace(PAIR[1], ready=False)], FLEET[:2], ready=True), ("demo-workers-1-1",)),
        (
            upgrading([replace(PAIR[0], ready=False), replace(PAIR[1], removing=True)], FLEET[:2], ready=True),
            ("demo-workers-1-0",),
        ),
        (upgrading([replace(node, ready=False) for node in PAIR], FLEET[:2], ready=False), ()),
        (upgrading([replace(node, ready=False) for node in PAIR], FLEET[:2], ready=True), ("demo-workers-1-1",)),
    ],
    ids=["new-not-ready", "one", "migrating", "late-boot", "broken", "broken-before-marked", "none-ready", "only-new"],
)
def test_plan_cluster_removes_no_more_former_nodes_than_are_not_needed(observed, removed):
    spec = replace(SPEC, groups=(NodeGroup(count=2),))
    step = plan_for(spec, observed, Attempts())
    assert (step.nodes if isinstance(step, RemoveNodes) else ()) == removed
    if removed:
        assert (step.size, step.servers) == (1, (f"s{removed[0][-1]}",)), "it is drained, and only it"


def test_plan_cluster_chooses_no_node_again_that_heat_is_to_remove():
    """Heat failed to delete it: it would remove another one for it, without draining that."""
    failed = StackResource(("nodes", "1", "server"), "OS::Nova::Server", "DELETE_FAILED", physical_id="s1")
    observed = members(TRIO, lost=[failed])
    parameters = {**observed.groups[0].stack.parameters, "count": "2", "remove": '["1"]'}
    entry = replace(observed.groups[0], stack=replace(observed.groups[0].stack, parameters=parameters))
    spec = replace(SPEC, groups=(replace(GROUP, count=1),))
    step = plan_for(spec, replace(observed, groups=[entry]), Attempts())
    assert (step.nodes, step.lost, step.size) == (("demo-workers-1-2",), (), 1)


def test_plan_cluster_bounds_recreations():
    observed = Observed(base("CREATE_FAILED", DIED))
    step = plan_for(SPEC, observed, Attempts(creations=1))
    assert isinstance(step, DeleteInfrastructure)
    assert step.creation == 2
    assert isinstance(plan_for(SPEC, observed, Attempts(creations=MAX_ATTEMPTS)), Fail)


@pytest.mark.parametrize("kubernetes", [WELL, SILENT])
def test_plan_cluster_never_recreates_used_cluster(kubernetes):
    """Kubernetes was well before Heat was done: what Heat reports of a cluster since does not end it."""
    for status, resource in (("CREATE_FAILED", DIED), ("UPDATE_FAILED", DIED), ("UPDATE_FAILED", BROKEN)):
        observed = Observed(base(status, resource, READY), [COMPLETE_GROUP], True, kubernetes)
        assert isinstance(plan_for(SPEC, observed, Attempts()), UpdateStack)
        step = plan_for(SPEC, observed, Attempts(repairs=Counter({"demo": 1})))
        assert isinstance(step, Fail)
        assert step.used


def test_plan_cluster_bounds_replacements_and_repairs_of_each_group():
    lost = Observed(COMPLETE, [group("UPDATE_COMPLETE", count=2, lost=[WORKER, WORKER])], True, ONE_NODE)
    attempts = Attempts(replacements=Counter({"demo-workers-1": MAX_ATTEMPTS}))
    spec = replace(SPEC, groups=(replace(GROUP, count=2),))
    assert plan_for(spec, lost, attempts) == Fail("servers demo-workers-1-0, demo-workers-1-0 are gone", used=True)
    failed = Observed(COMPLETE, [group("UPDATE_FAILED", REFUSED_WORKER, lost=[WORKER])], True, ONE_NODE)
    step = plan_for(SPEC, failed, Attempts(repairs=Counter({"demo-workers-1": 1})))
    assert step == Fail("server demo-workers-1-0: No valid host was found.", used=True)
    other = plan_for(SPEC, failed, Attempts(repairs=Counter({"demo-other-1": 1})))
    assert isinstance(other, ReplaceNodes)


def test_plan_cluster_with_failed_group_waits_for_others():
    """One group that does not come up does not stop the rest."""
    failed = group("UPDATE_FAILED", REFUSED_WORKER)
    other = group("CREATE_IN_PROGRESS", WORKER_BOOTING)
    other = replace(
        other, stack=replace(other.stack, name="demo-other-1", parameters={**other.stack.parameters, "group": "other"})
    )
    spec, attempts = SPEC.with_group(NodeGroup("other", 1)), Attempts(repairs=Counter({"demo-workers-1": 1}))
    assert isinstance(plan_for(spec, Observed(COMPLETE, [failed, other], True, ONE_NODE), attempts), Wait)
    done = replace(other, stack=replace(other.stack, status="CREATE_COMPLETE"))
    assert isinstance(plan_for(spec, Observed(COMPLETE, [failed, done], True, ONE_NODE), attempts), Fail)


DELETING = Stack("id", "demo", "DELETE_IN_PROGRESS")
PORT = StackResource(("network",), "OS::Neutron::Net", "DELETE_FAILED", "Conflict: resources.network: port in use")


@pytest.mark.parametrize(
    ("stack", "unchanged", "requests", "deleted", "waiting", "blocked"),
    [
        (Stack("id", "demo", "CREATE_IN_PROGRESS"), Unchanged(), 0, "deleting", "", ""),
        (DELETING, Unchanged(), 1, "", "waiting for Heat", ""),
        (DELETING, Unchanged(UNCHANGED_LIMIT), 1, "deleting it again", "", ""),
        (Stack("id", "demo", "DELETE_FAILED"), Unchanged(), 1, "network of demo: port in use", "", ""),
        (Stack("id", "demo", "DELETE_FAILED"), Unchanged(), MAX_DELETIONS, "", "", "network of demo: port in use"),
    ],
)
def test_plan_stack_deletion_returns_request_or_reason(stack, unchanged, requests, deleted, waiting, blocked):
    found = plan_stack(stack, [PORT], unchanged, {"id": requests})
    assert deleted in "".join(deletion.text for deletion in found.deletions)
    assert [bool(found.deletions), bool(found.waiting), bool(found.blocked)] == [
        *map(bool, (deleted, waiting, blocked))
    ]
    assert waiting in "".join(found.waiting)
    assert blocked in "".join(found.blocked)
