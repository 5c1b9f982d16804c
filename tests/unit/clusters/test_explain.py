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


def failed(path, kind, reason):
    return StackResource(tuple(path.split("/")), kind, "CREATE_FAILED", reason)


@pytest.mark.parametrize(
    ("resources", "reported"),
    [
        ([], "Went bad"),
        (
            [
                failed(
                    "worker_nodes/nodes/1/ready",
                    "OS::Heat::WaitCondition",
                    "WaitConditionFailure: resources.ready: no disk",
                )
            ],
            "node demo-default-worker-1: no disk",
        ),
        (
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
            [
                failed("control_plane", "OS::Nova::Server", "ResourceInError: resources.control_plane: No valid host"),
                failed("worker_nodes", "node-group.yaml", "CREATE aborted (user triggered cancel)"),
            ],
            "server demo-control-plane-0: No valid host",
        ),
        (
            [failed("router", "OS::Neutron::Router", "Conflict: resources.router: Quota exceeded for ['router'].")],
            "router of demo: Quota exceeded for ['router'].",
        ),
    ],
)
def test_failure_is_the_deepest_reason(resources, reported):
    assert explain.failure_reason(STACK, resources).startswith(reported)


@pytest.mark.parametrize(
    ("reason", "is_transient"),
    [
        ("Engine went down during stack CREATE", True),
        ("ConnectFailure: resources.network: Unable to establish connection to http://172.24.4.1:9696", True),
        ("InternalServerError: resources.port: (HTTP 503)", True),
        ("Request Failed: internal server error while processing your request.", True),
        ("(2013, 'Lost connection to server during query')", True),
        ('Went to status ERROR due to "Message: Unknown, Code: Unknown"', True),
        ("Port id 16c9f38e-b436-471d-8bc1-93095a386bf5 could not be found. (HTTP 400)", True),
        ("Port 16c9f38e-b436-471d-8bc1-93095a386bf5 is still in use. (HTTP 409)", True),
        ("No valid host was found.", False),
        ("containerd.service failed: no space left on device", False),
    ],
)
def test_passing_recognizes_transient_errors(reason, is_transient):
    assert explain.is_transient(reason) is is_transient


@pytest.mark.parametrize(("other", "found"), [("s-1", ("r", "s-1")), ("s-2", None)])
def test_attached_finds_unrecorded_subnet(other, found):
    reason = f"BadRequest: Cidr 10.0.0.0/24 of subnet s-1 overlaps with cidr 10.0.0.0/24 of subnet {other}. Neutron"
    interface = failed("router_interface", "OS::Neutron::RouterInterface", reason)
    router = StackResource(("router",), "OS::Neutron::Router", "CREATE_COMPLETE", physical_id="r")
    subnet = StackResource(("subnet",), "OS::Neutron::Subnet", "CREATE_COMPLETE", physical_id="s-1")
    assert explain.unrecorded_attachment([router, subnet, interface]) == found
    assert explain.unrecorded_attachment([router, subnet, replace(interface, status="UPDATE_IN_PROGRESS")]) is None


def test_unmade_finds_blocked_servers():
    in_use = failed(
        "nodes/0/server", "OS::Nova::Server", "Conflict: resources.server: Port p is still in use. (HTTP 409)"
    )
    full = failed("nodes/1/server", "OS::Nova::Server", "No valid host was found.")
    between = replace(full, status="DELETE_COMPLETE")
    port = failed("nodes/0/port", "OS::Neutron::Port", "Port p is still in use.")
    assert explain.blocked_servers([in_use, full, between, port]) == [in_use, between]
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
