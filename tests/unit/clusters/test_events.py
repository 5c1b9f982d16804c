"""Events: what Heat and Kubernetes keep of a cluster, and what is counted of that."""

from __future__ import annotations

import pytest

from clustering import SPEC, Joined, World
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.port.stacks import Stack, StackEvent
from moorage.clusters import events
from moorage.clusters.reconcile import list_events
from moorage.clusters.steps import MAX_ATTEMPTS
from moorage.kube.port import EVENTS
from moorage.model.cluster import ClusterEvent
from moorage.model.errors import Failed, NotFound

pytestmark = pytest.mark.unit

KUBELET_EXITED = {f"nodes/{index}/ready": "kubelet exited" for index in (0, 2)}  # the first node, and its replacement
GROUP = Stack("s", "demo-workers-1", "CREATE_COMPLETE")
NO_HOST = 'ResourceInError: resources.server: Went to status ERROR due to "No valid host"'


@pytest.fixture
def world(tmp_path):
    return World(MemoryCloud(), Joined(), tmp_path)


def happened(world):
    """The cluster's events but for those that Heat has without Moorage."""
    found = list_events(world.cloud, world.kube.connect, world.folder, "demo")
    return [(event.reason, event.object) for event in found if not event.reason.startswith(("Creation", "Update"))]


def step_in_many_processes(world):
    for _ in range(1000):
        world.executor(SPEC).step()


def member(path, status, reason=""):
    return StackEvent("2026-01-02T03:04:05Z", ("nodes", "3", path), status, reason)


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            StackEvent("t", (), "CREATE_IN_PROGRESS", "Stack CREATE started"),
            ("CreationStarted", "demo-workers-1", False),
        ),
        (
            StackEvent("t", (), "UPDATE_COMPLETE", "Stack UPDATE completed"),
            ("UpdateCompleted", "demo-workers-1", False),
        ),
        (StackEvent("t", (), "DELETE_FAILED", "Resource DELETE failed"), ("DeletionFailed", "demo-workers-1", True)),
        (member("server", "CREATE_FAILED", NO_HOST), ("CreationFailed", "demo-workers-1-3", True)),
        (member("ready", "CREATE_COMPLETE"), ("NodeReady", "demo-workers-1-3", False)),
    ],
)
def test_changes_of_stacks_and_failures_and_ready_nodes_are_events(event, shown):
    (found,) = events.of_stack(GROUP, [event])
    assert (found.reason, found.object, found.warning) == shown


def test_what_follows_from_others_is_no_event():
    quiet = [
        member("port", "CREATE_COMPLETE"),
        member("ready", "CREATE_FAILED", "CREATE aborted (user triggered cancel)"),
    ]
    assert events.of_stack(GROUP, quiet) == []


def test_message_of_failure_has_reason_of_resource():
    (found,) = events.of_stack(GROUP, [member("server", "CREATE_FAILED", NO_HOST)])
    assert found.message == 'server: Went to status ERROR due to "No valid host"'


def test_own_events_are_read_back_and_other_signals_are_not():
    signals = [
        "Signal: status:FAILURE reason:NodesReplaced demo-workers-1: server a is gone: replacing it",
        "Signal: status:SUCCESS reason:something else",
    ]
    kept = [StackEvent("t", ("events",), "SIGNAL_COMPLETE", text) for text in signals]
    assert events.own([*kept, StackEvent("t", ("other",), "SIGNAL_COMPLETE", signals[0])]) == [
        ClusterEvent("t", "NodesReplaced", "demo-workers-1", "server a is gone: replacing it", warning=True)
    ]


def test_events_of_other_components_in_kubernetes_are_left_out():
    node = {"kind": "Node", "name": "demo-workers-1-0"}
    gone = {"involvedObject": node, "reason": "ServerGone", "message": "m", "type": "Warning", "lastTimestamp": "t"}
    ours, other = {**gone, "reportingComponent": "moorage-controller"}, {**gone, "source": {"component": "kubelet"}}
    assert events.of_kubernetes([ours, other]) == [
        ClusterEvent("t", "ServerGone", "demo-workers-1-0", "m", warning=True)
    ]


def test_request_and_what_was_done_for_it_are_kept_for_every_machine(world, tmp_path):
    world.create()
    world.cloud.servers.delete(next(s.id for s in world.cloud.servers.list("demo") if s.name == "demo-workers-1-0"))
    world.repair()
    begun, done = ("Requested", "demo"), ("Completed", "demo")
    assert happened(world) == [begun, done, begun, ("NodesReplaced", "demo-workers-1"), done]
    elsewhere = World(world.cloud, world.kube, tmp_path / "elsewhere")
    assert happened(elsewhere) == happened(world)


def test_request_without_anything_to_do_is_no_event(world):
    world.create()
    before = happened(world)
    world.create()
    world.repair()
    assert happened(world) == before


def test_events_of_kubernetes_are_shown_as_long_as_it_answers(world):
    world.create()
    about = {"involvedObject": {"name": "demo-workers-1-0"}, "reason": "ServerGone", "message": "m", "type": "Warning"}
    recorded = {"reportingComponent": "moorage-controller", "lastTimestamp": "2027-01-01T00:00:00Z"}
    world.kube.create(EVENTS, {"metadata": {"namespace": "default", "name": "e"}, **about, **recorded})
    assert happened(world)[-1] == ("ServerGone", "demo-workers-1-0")
    world.kube.unreachable = "no answer"
    assert happened(world)[-1] == ("Completed", "demo")


def test_failure_is_kept_with_what_to_do(world):
    world.cloud.stacks.failing |= KUBELET_EXITED
    with pytest.raises(Failed):
        world.create()
    last = list_events(world.cloud, world.kube.connect, world.folder, "demo")[-1]
    assert (last.reason, last.warning) == ("Failed", True)
    assert "kubelet exited" in last.message


def test_events_of_missing_cluster(world):
    with pytest.raises(NotFound, match="no cluster 'demo'"):
        happened(world)


def test_unreachable_heat_gets_events_later(world):
    world.create()
    run, stack = world.executor().run, world.cloud.stacks.get("demo")
    run.act("NodesRemoved", "demo-workers-1", "removing demo-workers-1-0")
    world.cloud.stacks.unreachable = "Heat does not answer"
    events.send(world.cloud, stack, run)
    assert run.sent == 0
    world.cloud.stacks.unreachable = ""
    events.send(world.cloud, stack, run)
    events.send(world.cloud, stack, run)
    assert happened(world)[2:] == [("NodesRemoved", "demo-workers-1")]


def test_attempts_are_counted_by_all_runs(world):
    """Each step by another process, as a service with many workers does it: the failure is final nevertheless."""
    world.cloud.stacks.failing["control_plane"] = "No valid host was found."
    with pytest.raises(Failed, match="No valid host"):
        step_in_many_processes(world)
    assert events.creations(world.cloud.stacks.get("demo")) == MAX_ATTEMPTS


def test_replacements_are_counted_by_all_runs(world):
    world.cloud.stacks.failing |= KUBELET_EXITED
    with pytest.raises(Failed, match="kubelet exited"):
        step_in_many_processes(world)
    assert [reason for reason, _ in happened(world)].count("NodesRepaired") == 1


def test_new_request_tries_again(world):
    world.cloud.stacks.failing |= KUBELET_EXITED
    with pytest.raises(Failed, match="kubelet exited"):
        world.create()
    world.cloud.stacks.failing.clear()
    assert world.create().reason == ""
    assert [reason for reason, _ in happened(world)].count("NodesRepaired") == 2
