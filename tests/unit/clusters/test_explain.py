"""Heat's words in plain ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import explain

pytestmark = pytest.mark.unit

STACK = Stack(
    "id", "demo", "CREATE_FAILED", "Resource CREATE failed: ResourceInError: resources.control_plane: Went bad"
)


GROUP = Stack("g", "demo-workers-1", "CREATE_FAILED", "Resource CREATE failed: resources.nodes: Went bad")


def failed(path, kind, reason):
    return StackResource(tuple(path.split("/")), kind, "CREATE_FAILED", reason)


@pytest.mark.parametrize(
    ("stack", "resources", "reported"),
    [
        (STACK, [], "Went bad"),
        (
            GROUP,
            [failed("nodes/1/port", "OS::Neutron::Port", "No more addresses")],
            "port of demo-workers-1-1: No more",
        ),
        (
            GROUP,
            [
                failed(
                    "nodes/1/ready",
                    "OS::Heat::WaitCondition",
                    "WaitConditionFailure: resources.ready: no disk",
                )
            ],
            "node demo-workers-1-1: no disk",
        ),
        (
            STACK,
            [
                failed(
                    "control_plane_ready",
                    "OS::Heat::WaitCondition",
                    "WaitConditionTimeout: resources.x: 0 of 1 received",
                )
            ],
            "node demo-control-plane-0: no signal within its time",
        ),
        (
            STACK,
            [
                failed("control_plane", "OS::Nova::Server", "ResourceInError: resources.control_plane: No valid host"),
                failed("floating_ip", "OS::Neutron::FloatingIP", "CREATE aborted (user triggered cancel)"),
            ],
            "server demo-control-plane-0: No valid host",
        ),
        (
            STACK,
            [failed("router", "OS::Neutron::Router", "Conflict: resources.router: Quota exceeded for ['router'].")],
            "router of demo: Quota exceeded for ['router'].",
        ),
    ],
)
def test_failure_is_the_deepest_reason(stack, resources, reported):
    assert explain.failure_reason(stack, resources).startswith(reported)


def test_lost_servers_are_incomplete_or_not_in_nova():
    complete = StackResource(("nodes", "0", "server"), "OS::Nova::Server", "CREATE_COMPLETE", physical_id="a")
    deleted, unfinished = replace(complete, physical_id="b"), replace(complete, status="CREATE_FAILED")
    between, planned = replace(complete, status="DELETE_COMPLETE"), replace(complete, status="INIT_COMPLETE")
    port = failed("nodes/0/port", "OS::Neutron::Port", "Port p is still in use.")
    servers = [Server("a", "demo-workers-1-0", "ACTIVE"), Server("x", "demo-workers-1-0", "ACTIVE")]
    resources = [complete, deleted, unfinished, between, planned, port]
    assert explain.lost_servers(resources, servers) == [deleted, unfinished, between]
    assert explain.untracked_servers([complete], servers, "demo-workers-1") == [], "the other one is not in its place"
    assert explain.untracked_servers([complete, unfinished], servers, "demo-workers-1") == [servers[1]]
    assert explain.servers_complete([between]) == 0


def test_server_faults_have_novas_message():
    servers = [
        Server("1", "a", "ACTIVE"),
        Server("2", "b", "SHUTOFF"),
        Server("3", "c", "ERROR", fault="No valid host was found."),
    ]
    assert explain.server_faults(servers) == [
        "server b is SHUTOFF",
        "server c is ERROR: No valid host was found.",
    ]
