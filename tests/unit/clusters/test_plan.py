"""The plan as a table: what is observed, and the step that follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import parameters, plan
from moorage.clusters.deletion.infrastructure import MAX_DELETIONS, plan_stack
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.plan import (
    CreateStack,
    DeleteServers,
    DeleteStack,
    Done,
    Fail,
    Kubernetes,
    Observed,
    Reject,
    ReplaceNodes,
    UpdateStack,
    Wait,
)
from moorage.clusters.progress import UNCHANGED_LIMIT, UNCHANGED_LIMIT_AFTER_OUTAGE, Unchanged
from moorage.model.cluster import ClusterSpec

pytestmark = pytest.mark.unit

SPEC = ClusterSpec("demo", workers=1, flavor="m1.node")
PARAMETERS = {name: str(value) for name, value in parameters.user_parameters(replace(SPEC, image="image-1")).items()}
PARAMETERS["registry_mirrors"] = "{}"
WELL = Kubernetes([KubeNode("demo-control-plane-0", True), KubeNode("demo-default-worker-0", True)], dns=True)
NO_DNS = Kubernetes(WELL.nodes, dns=False)
ONE_NODE = Kubernetes(WELL.nodes[:1], dns=True)
SICK = Kubernetes([WELL.nodes[0], KubeNode("demo-default-worker-0", False, reason="runtime is down")], dns=True)
SILENT = Kubernetes(unreachable="the Kubernetes API does not answer")
REFUSED = Kubernetes(WELL.nodes, dns=True, problem="revoked")
BROKEN = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_FAILED", "No valid host was found.")
DIED = StackResource(("network",), "OS::Neutron::Net", "CREATE_FAILED", "Unable to establish connection to http://n")
READY = StackResource(("control_plane_ready",), "OS::Heat::WaitCondition", "CREATE_COMPLETE")
HELD = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="c")
WORKER = StackResource(("worker_nodes", "nodes", "0", "server"), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="w")
UNKNOWN = Server("x", "demo-default-worker-0", "ACTIVE", metadata={"moorage_role": "worker"})
BOOTING = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_IN_PROGRESS")
BOOTED = StackResource(("worker_nodes", "nodes", "0", "server"), "OS::Nova::Server", "CREATE_COMPLETE")


def stack(status, **changes):
    return Stack("id", "demo", status, parameters={**PARAMETERS, **changes})


@pytest.mark.parametrize(
    ("observed", "kind", "reported"),
    [
        (Observed(None), CreateStack, ""),
        (Observed(None, key=True), CreateStack, ""),
        (Observed(stack("CREATE_IN_PROGRESS")), Wait, "Neutron"),
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTING]), Wait, "0 of 2 servers"),
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTING], True, SICK), Wait, "0 of 2 servers"),
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTING, BOOTED], True, WELL), Wait, "1 of 2 servers"),
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTED, BOOTED], True, WELL), Done, ""),
        (
            Observed(stack("CREATE_IN_PROGRESS"), [BOOTING], unchanged=Unchanged(UNCHANGED_LIMIT)),
            UpdateStack,
            "resuming",
        ),
        (
            Observed(stack("UPDATE_IN_PROGRESS"), [BOOTING], unchanged=Unchanged(UNCHANGED_LIMIT)),
            UpdateStack,
            "resuming",
        ),
        (
            Observed(stack("CREATE_IN_PROGRESS"), [BOOTING], unchanged=Unchanged(UNCHANGED_LIMIT_AFTER_OUTAGE)),
            Wait,
            "0 of 2 servers",
        ),
        (
            Observed(
                stack("CREATE_IN_PROGRESS"),
                [BOOTING],
                unchanged=Unchanged(UNCHANGED_LIMIT_AFTER_OUTAGE, unresponsive=True),
            ),
            UpdateStack,
            "",
        ),
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTED, BOOTED], True, WELL, Unchanged(UNCHANGED_LIMIT)), Done, ""),
        (Observed(stack("CREATE_COMPLETE"), (), True, SILENT, Unchanged(UNCHANGED_LIMIT)), Wait, "does not answer"),
        (Observed(stack("CREATE_COMPLETE"), (), True, REFUSED), Wait, "cannot reach its cloud: revoked"),
        (Observed(stack("CREATE_IN_PROGRESS", workers="3")), Reject, "workers 3, not 1"),
        (Observed(stack("CREATE_FAILED"), [BROKEN]), DeleteStack, "No valid host"),
        (Observed(stack("CREATE_FAILED"), [DIED]), DeleteStack, "recreating"),
        (Observed(stack("UPDATE_FAILED"), [BROKEN]), DeleteStack, "recreating"),
        (Observed(stack("CREATE_COMPLETE", flavor="m1.large")), Reject, "flavor m1.large, not m1.node"),
        (Observed(stack("CREATE_COMPLETE"), (), False), Done, "another machine"),
        (Observed(stack("CREATE_COMPLETE"), (), True, None), Wait, "not asked"),
        (Observed(stack("CREATE_COMPLETE"), (), True, SILENT), Wait, "does not answer"),
        (Observed(stack("CREATE_COMPLETE"), (), True, ONE_NODE), Wait, "1 of 2 Ready"),
        (Observed(stack("CREATE_COMPLETE"), (), True, SICK), Wait, "runtime is down"),
        (Observed(stack("CREATE_COMPLETE"), (), True, NO_DNS), Wait, "CoreDNS"),
        (Observed(stack("CREATE_COMPLETE"), (), True, WELL), Done, ""),
        (Observed(stack("UPDATE_COMPLETE"), (), True, WELL), Done, ""),
        (Observed(stack("CREATE_FAILED"), [DIED, READY], True, ONE_NODE), UpdateStack, "retry what failed"),
        (Observed(stack("CREATE_FAILED"), [DIED, READY], True, ONE_NODE, lost=[WORKER]), ReplaceNodes, "repairing"),
        (Observed(stack("UPDATE_FAILED"), [DIED, READY], False, None, lost=[WORKER]), UpdateStack, "retry what failed"),
        (
            Observed(stack("UPDATE_FAILED"), [DIED, READY], True, SILENT, lost=[WORKER]),
            UpdateStack,
            "retry what failed",
        ),
        (
            Observed(stack("UPDATE_FAILED"), [DIED, READY], True, ONE_NODE, lost=[WORKER], untracked=[UNKNOWN]),
            DeleteServers,
            "demo-default-worker-0",
        ),
        (Observed(stack("UPDATE_FAILED"), [BROKEN, READY], True, SILENT, lost=[HELD]), Fail, "No valid host"),
        (
            Observed(stack("CREATE_COMPLETE"), (), True, ONE_NODE, lost=[WORKER]),
            ReplaceNodes,
            "demo-default-worker-0 is gone",
        ),
        (Observed(stack("CREATE_COMPLETE"), (), True, SILENT, lost=[WORKER]), Wait, "does not answer"),
        (Observed(stack("CREATE_COMPLETE"), (), False, None, lost=[WORKER]), Done, "another machine"),
        (
            Observed(stack("CREATE_COMPLETE"), (), True, SILENT, lost=[HELD, WORKER]),
            Fail,
            "with it the cluster's etcd",
        ),
        (Observed(stack("DELETE_IN_PROGRESS", workers="9")), DeleteStack, "previous"),
        (Observed(stack("DELETE_FAILED")), DeleteStack, "previous"),
    ],
)
def test_plan_creation_returns_step(observed, kind, reported):
    step = plan.plan_creation(SPEC, observed, plan.Attempts())
    assert isinstance(step, kind)
    assert reported in str(step)


def test_plan_creation_bounds_recreations():
    observed = Observed(stack("CREATE_FAILED"), [DIED])
    assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(creations=plan.MAX_ATTEMPTS)), Fail)


def test_plan_creation_recreates_own_stack_that_cannot_be_reached():
    """Its address may be what failed: no user has it yet."""
    observed = Observed(stack("UPDATE_FAILED"), [DIED, READY], True, SILENT)
    assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(creations=1)), DeleteStack)
    assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(plan.MAX_ATTEMPTS)), Fail)


def test_plan_creation_never_recreates_used_cluster():
    """Kubernetes was well before Heat was done: what Heat reports of a cluster since does not end it."""
    for status, resource in (("CREATE_FAILED", DIED), ("UPDATE_FAILED", DIED), ("UPDATE_FAILED", BROKEN)):
        observed = Observed(stack(status), [resource, READY], True, WELL)
        assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts()), UpdateStack)
        step = plan.plan_creation(SPEC, observed, plan.Attempts(repairs=1))
        assert isinstance(step, Fail)
        assert step.used


def test_plan_creation_bounds_replacements():
    observed = Observed(stack("UPDATE_COMPLETE"), (), True, ONE_NODE, lost=[WORKER, WORKER])
    step = plan.plan_creation(SPEC, observed, plan.Attempts(replacements=plan.MAX_ATTEMPTS))
    assert step == Fail("servers demo-default-worker-0, demo-default-worker-0 are gone", used=True)


DELETING = Stack("id", "demo", "DELETE_IN_PROGRESS")
PORT = StackResource(("network",), "OS::Neutron::Net", "DELETE_FAILED", "Conflict: resources.network: port in use")


@pytest.mark.parametrize(
    ("stack", "unchanged", "requests", "deleted", "waiting", "blocked"),
    [
        (None, Unchanged(), 0, "", "", ""),
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


def test_differences_without_image_match_any():
    there = stack("CREATE_COMPLETE", image="image-7")
    assert parameters.differences(SPEC, there) == []
    assert parameters.differences(ClusterSpec("demo", workers=1, image="image-1"), there) == [
        "image image-7, not image-1"
    ]
