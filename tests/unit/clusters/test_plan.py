"""The plan as a table: what is observed, and the step that follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import parameters, plan
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.plan import (
    CreateStack,
    DeleteKey,
    DeleteOrphans,
    DeleteStack,
    Done,
    Fail,
    Kubernetes,
    Observed,
    Reject,
    ReplaceNodes,
    ResumeStack,
    Wait,
)
from moorage.model.cluster import ClusterSpec

pytestmark = pytest.mark.unit

SPEC = ClusterSpec("demo", workers=1, flavor="m1.node")
PARAMETERS = {name: str(value) for name, value in parameters.user_parameters(replace(SPEC, image="image-1")).items()}
PARAMETERS["registry_mirrors"] = "{}"
WELL = Kubernetes([KubeNode("demo-control-plane-0", True), KubeNode("demo-default-worker-0", True)], dns=True)
SUBNET = StackResource(("subnet",), "OS::Neutron::Subnet", "DELETE_IN_PROGRESS", physical_id="a")
SERVER = StackResource(("control_plane",), "OS::Nova::Server", "DELETE_IN_PROGRESS", physical_id="b")
NO_DNS = Kubernetes(WELL.nodes, dns=False)
ONE_NODE = Kubernetes(WELL.nodes[:1], dns=True)
SICK = Kubernetes([WELL.nodes[0], KubeNode("demo-default-worker-0", False, reason="runtime is down")], dns=True)
SILENT = Kubernetes(unreachable="the Kubernetes API does not answer")
REFUSED = Kubernetes(WELL.nodes, dns=True, problem="revoked")
BROKEN = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_FAILED", "No valid host was found.")
DIED = StackResource(("network",), "OS::Neutron::Net", "CREATE_FAILED", "Unable to establish connection to http://n")
CANCELLED = StackResource(
    ("worker_nodes",), "node-group.yaml", "UPDATE_FAILED", "resources.nodes: Stack UPDATE cancelled"
)
READY = StackResource(("control_plane_ready",), "OS::Heat::WaitCondition", "CREATE_COMPLETE")
HELD = StackResource(("control_plane",), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="c")
WORKER = StackResource(("worker_nodes", "nodes", "0", "server"), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="w")
OVERLAP = "Cidr 10.0.0.0/24 of subnet s overlaps with cidr 10.0.0.0/24 of subnet s."
INTERFACE = StackResource(("router_interface",), "OS::Neutron::RouterInterface", "CREATE_FAILED", OVERLAP)
JOINED = ("Router", "Subnet")
BETWEEN = StackResource(("worker_nodes", "nodes", "0", "server"), "OS::Nova::Server", "DELETE_COMPLETE")
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
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTING], unchanged_for=plan.UNCHANGED_LIMIT), ResumeStack, "resuming"),
        (Observed(stack("UPDATE_IN_PROGRESS"), [BOOTING], unchanged_for=plan.UNCHANGED_LIMIT), ResumeStack, "resuming"),
        (
            Observed(stack("CREATE_IN_PROGRESS"), [BOOTING], unchanged_for=plan.UNCHANGED_LIMIT_AFTER_OUTAGE),
            Wait,
            "0 of 2 servers",
        ),
        (
            Observed(
                stack("CREATE_IN_PROGRESS"),
                [BOOTING],
                unchanged_for=plan.UNCHANGED_LIMIT_AFTER_OUTAGE,
                unresponsive=True,
            ),
            ResumeStack,
            "",
        ),
        (Observed(stack("CREATE_IN_PROGRESS"), [BOOTED, BOOTED], True, WELL, plan.UNCHANGED_LIMIT), Done, ""),
        (Observed(stack("CREATE_COMPLETE"), (), True, SILENT, plan.UNCHANGED_LIMIT), Wait, "does not answer"),
        (Observed(stack("CREATE_COMPLETE"), (), True, REFUSED), Wait, "cannot reach its cloud: revoked"),
        (Observed(stack("CREATE_IN_PROGRESS", workers="3")), Reject, "workers 3, not 1"),
        (Observed(stack("CREATE_FAILED"), [BROKEN]), Fail, "No valid host"),
        (Observed(stack("CREATE_FAILED"), [DIED]), DeleteStack, "recreating"),
        (Observed(stack("UPDATE_FAILED"), [CANCELLED]), Wait, "waiting for it to resume"),
        (
            Observed(stack("UPDATE_FAILED"), [CANCELLED], unchanged_for=plan.UNCHANGED_LIMIT_AFTER_OUTAGE),
            ResumeStack,
            "resuming",
        ),
        (Observed(stack("CREATE_COMPLETE", flavor="m1.large")), Reject, "flavor m1.large, not m1.node"),
        (Observed(stack("CREATE_COMPLETE"), (), False), Done, "another machine"),
        (Observed(stack("CREATE_COMPLETE"), (), True, None), Wait, "not asked"),
        (Observed(stack("CREATE_COMPLETE"), (), True, SILENT), Wait, "does not answer"),
        (Observed(stack("CREATE_COMPLETE"), (), True, ONE_NODE), Wait, "1 of 2 Ready"),
        (Observed(stack("CREATE_COMPLETE"), (), True, SICK), Wait, "runtime is down"),
        (Observed(stack("CREATE_COMPLETE"), (), True, NO_DNS), Wait, "CoreDNS"),
        (Observed(stack("CREATE_COMPLETE"), (), True, WELL), Done, ""),
        (Observed(stack("UPDATE_COMPLETE"), (), True, WELL), Done, ""),
        (Observed(stack("CREATE_FAILED"), [DIED, READY]), ResumeStack, "retry what failed"),
        (Observed(stack("CREATE_FAILED"), [BROKEN, READY]), Fail, "No valid host"),
        (Observed(stack("UPDATE_FAILED"), [BROKEN, READY]), ResumeStack, "No valid host"),
        (
            Observed(stack("CREATE_COMPLETE"), (), True, ONE_NODE, missing=[WORKER]),
            ReplaceNodes,
            "demo-default-worker-0 is gone",
        ),
        (Observed(stack("CREATE_COMPLETE"), (), True, SILENT, missing=[WORKER]), Wait, "does not answer"),
        (Observed(stack("CREATE_COMPLETE"), (), False, None, missing=[WORKER]), Done, "another machine"),
        (
            Observed(stack("CREATE_COMPLETE"), (), True, SILENT, missing=[HELD, WORKER]),
            Fail,
            "with it the cluster's etcd",
        ),
        (Observed(stack("DELETE_IN_PROGRESS", workers="9")), Wait, "previous"),
        (Observed(stack("DELETE_IN_PROGRESS"), [SUBNET], unchanged_for=plan.ORPHANS_AFTER), DeleteOrphans, "'a'"),
        (Observed(stack("DELETE_FAILED")), DeleteStack, "trying again"),
    ],
)
def test_plan_creation_returns_step(observed, kind, reported):
    step = plan.plan_creation(SPEC, observed, plan.Attempts())
    assert isinstance(step, kind)
    assert reported in str(step)


@pytest.mark.parametrize(
    ("observed", "kind", "reported"),
    [
        (Observed(None), DeleteKey, ""),
        (Observed(None, key=True), DeleteKey, ""),
        (Observed(stack("CREATE_IN_PROGRESS")), DeleteStack, "deleting"),
        (Observed(stack("CREATE_FAILED"), [BROKEN]), DeleteStack, "deleting"),
        (Observed(stack("CREATE_COMPLETE")), DeleteStack, "deleting"),
        (Observed(stack("DELETE_IN_PROGRESS")), Wait, "Heat"),
        (Observed(stack("DELETE_IN_PROGRESS"), [SUBNET], unchanged_for=plan.ORPHANS_AFTER), DeleteOrphans, "'a'"),
        (
            Observed(stack("DELETE_IN_PROGRESS"), [SUBNET, SERVER], unchanged_for=plan.ORPHANS_AFTER),
            Wait,
            "1 servers and 1 other",
        ),
        (Observed(stack("DELETE_IN_PROGRESS"), unchanged_for=plan.UNCHANGED_LIMIT), DeleteStack, "again"),
        (Observed(stack("DELETE_FAILED")), DeleteStack, "trying again"),
    ],
)
def test_plan_deletion_returns_step(observed, kind, reported):
    step = plan.plan_deletion(observed, plan.Attempts())
    assert isinstance(step, kind)
    assert reported in str(step)


def test_plan_creation_bounds_recreations():
    observed = Observed(stack("CREATE_FAILED"), [DIED])
    assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(creations=plan.MAX_ATTEMPTS)), Fail)


def test_plan_creation_recreates_after_failed_resume():
    observed = Observed(stack("UPDATE_FAILED"), [BROKEN])
    assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(resumptions=1)), DeleteStack)
    assert isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(plan.MAX_ATTEMPTS, resumptions=1)), Fail)


def test_plan_creation_never_recreates_used_cluster():
    """Kubernetes was well before Heat was done: what Heat says of a cluster since does not end it."""
    for status, resource in (("CREATE_FAILED", DIED), ("UPDATE_FAILED", DIED), ("UPDATE_FAILED", BROKEN)):
        observed = Observed(stack(status), [resource, READY], True, WELL)
        for resumptions in range(plan.MAX_ATTEMPTS + 1):
            step = plan.plan_creation(SPEC, observed, plan.Attempts(resumptions=resumptions))
            assert isinstance(step, ResumeStack | Fail)
        assert isinstance(step, Fail)


@pytest.mark.parametrize("ready", [[], [READY]], ids=["before", "after"])
def test_plan_creation_detaches_unrecorded_subnet(ready):
    """Whether the control plane was Ready or not."""
    made = [StackResource((kind.lower(),), f"OS::Neutron::{kind}", "CREATE_COMPLETE", "", kind) for kind in JOINED]
    observed = Observed(stack("UPDATE_FAILED"), [INTERFACE, CANCELLED, *made, *ready], True, WELL)
    step = plan.plan_creation(SPEC, observed, plan.Attempts(resumptions=plan.MAX_ATTEMPTS - 1))
    assert isinstance(step, ResumeStack)
    assert step.attached == JOINED
    assert not isinstance(plan.plan_creation(SPEC, observed, plan.Attempts(resumptions=plan.MAX_ATTEMPTS)), ResumeStack)


@pytest.mark.parametrize(
    ("creations", "step"),
    [
        (1, DeleteStack),
        (plan.MAX_ATTEMPTS, Fail),
        (0, Wait),
    ],  # of another run: Heat may be replacing servers in use
)
def test_plan_creation_untracked_server_recreates_stack(creations, step):
    observed = Observed(stack("UPDATE_IN_PROGRESS"), [BETWEEN, READY], True, WELL, untracked=[UNKNOWN])
    found = plan.plan_creation(SPEC, observed, plan.Attempts(creations))
    assert isinstance(found, step)
    assert not isinstance(found, DeleteStack) or found.delete_orphans, "Heat cannot delete the port that it is on"


def test_plan_creation_bounds_replacements():
    observed = Observed(stack("UPDATE_COMPLETE"), (), True, ONE_NODE, missing=[WORKER, WORKER])
    step = plan.plan_creation(SPEC, observed, plan.Attempts(replacements=plan.MAX_ATTEMPTS))
    assert step == Fail("servers demo-default-worker-0, demo-default-worker-0 are gone", used=True)


def test_plan_deletion_fails_with_reason_after_attempts():
    port = StackResource(("network",), "OS::Neutron::Net", "DELETE_FAILED", "Conflict: resources.network: port in use")
    step = plan.plan_deletion(Observed(stack("DELETE_FAILED"), [port]), plan.Attempts(deletions=plan.MAX_ATTEMPTS))
    assert step == Fail("network of demo: port in use")


def test_differences_without_image_match_any():
    there = stack("CREATE_COMPLETE", image="image-7")
    assert parameters.differences(SPEC, there) == []
    assert parameters.differences(ClusterSpec("demo", workers=1, image="image-1"), there) == [
        "image image-7, not image-1"
    ]
