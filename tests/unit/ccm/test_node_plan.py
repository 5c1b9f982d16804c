"""Plans for a node, from the state of its server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.ccm.nodes.identity import Place, label_value, provider_id, server_id
from moorage.ccm.nodes.plan import SHUTDOWN, UNINITIALIZED, NodePlan, UnknownServer, plan_node
from moorage.cloud.port.servers import Address, Server
from moorage.kube.merge import merge

pytestmark = pytest.mark.unit

PLACE = Place("RegionOne")
SERVER = Server("5f0c", "demo-w-0", "ACTIVE", "m1.node", "nova", (Address("fixed", "10.0.0.5"),))
NEW = {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
OTHER = {"key": "mine", "effect": "NoExecute"}


def node(*taints, provider="", **metadata):
    spec = {"taints": list(taints)} | ({"providerID": provider} if provider else {})
    labels = {"kubernetes.io/hostname": "demo-w-0"}
    return {"metadata": {"name": "demo-w-0", "uid": "u", "labels": labels, **metadata}, "spec": spec, "status": {}}


def applied(before, plan):
    """The node after the execution of the plan."""
    return merge(merge(before, plan.status), plan.change)


def initialized_node(*taints):
    before = node(NEW, *taints)
    return applied(before, plan_node(before, SERVER, PLACE))


def test_plan_new_node_initializes_it():
    initialized = initialized_node(OTHER)
    assert initialized["spec"] == {"taints": [OTHER], "providerID": "openstack:///5f0c"}
    assert initialized["metadata"]["labels"] == {
        "kubernetes.io/hostname": "demo-w-0",
        "node.kubernetes.io/instance-type": "m1.node",
        "topology.kubernetes.io/region": "RegionOne",
        "topology.kubernetes.io/zone": "nova",
    }
    assert initialized["status"]["addresses"] == [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "Hostname", "address": "demo-w-0"},
    ]


def test_plan_up_to_date_node_is_empty():
    assert plan_node(initialized_node(), SERVER, PLACE) == NodePlan()
    assert plan_node(initialized_node(OTHER), SERVER, PLACE).is_empty


def test_plan_changed_label_restores_it():
    changed = merge(initialized_node(), {"metadata": {"labels": {"topology.kubernetes.io/zone": "mars"}}})
    plan = plan_node(changed, SERVER, PLACE)
    assert plan.change == {"metadata": {"labels": {"topology.kubernetes.io/zone": "nova"}}}


def test_plan_server_without_address_keeps_uninitialized_taint():
    before = node(NEW)
    plan = plan_node(before, replace(SERVER, addresses=()), PLACE)
    assert applied(before, plan)["spec"]["taints"] == [NEW]
    assert (plan.status, plan.retry_after) == ({}, 2.0)


def test_plan_addresses_prefer_provided_ip_and_list_floating_as_external():
    fixed = (Address("fixed", "10.9.0.1"), Address("fixed", "10.0.0.5"), Address("floating", "172.24.4.9"))
    provided = node(annotations={"alpha.kubernetes.io/provided-node-ip": "10.0.0.5"})
    plan = plan_node(provided, replace(SERVER, addresses=fixed), PLACE)
    assert [(entry["type"], entry["address"]) for entry in plan.status["status"]["addresses"]] == [
        ("InternalIP", "10.0.0.5"),
        ("InternalIP", "10.9.0.1"),
        ("ExternalIP", "172.24.4.9"),
        ("Hostname", "demo-w-0"),
    ]


def test_plan_stopped_server_taints_node_until_started():
    before = initialized_node(OTHER)
    stopped = applied(before, plan_node(before, replace(SERVER, status="SHUTOFF"), PLACE))
    assert stopped["spec"]["taints"] == [OTHER, {"key": SHUTDOWN, "effect": "NoSchedule"}]
    assert plan_node(stopped, replace(SERVER, status="SHUTOFF"), PLACE).is_empty
    assert applied(stopped, plan_node(stopped, SERVER, PLACE)) == before


@pytest.mark.parametrize("status", ["ACTIVE", "REBOOT", "PAUSED", "ERROR", "SOFT_DELETED", "UNKNOWN"])
def test_plan_other_status_is_empty(status):
    assert plan_node(initialized_node(), replace(SERVER, status=status), PLACE).is_empty


def test_plan_missing_server_deletes_node():
    plan = plan_node(initialized_node(), None, PLACE)
    assert plan.delete
    assert "5f0c no longer exists" in plan.event.message


def test_plan_node_that_never_had_server_keeps_it():
    plan = plan_node(node(NEW), None, PLACE)
    assert not plan.delete
    assert (plan.change, plan.retry_after) == ({}, 10.0)
    assert "this cluster has no server named demo-w-0" in plan.event.message


@pytest.mark.parametrize("before", [node(NEW), initialized_node()], ids=["new", "initialized"])
def test_plan_unknown_server_changes_nothing(before):
    plan = plan_node(before, UnknownServer("Nova does not answer"), PLACE)
    assert (plan.delete, plan.status, plan.change) == (False, {}, {})
    assert "Nova does not answer" in plan.event.message


@pytest.mark.parametrize("given", ["aws:///eu/i-1", "openstack://RegionTwo/5f0c", "openstack:///a/b", "openstack:5f0c"])
def test_plan_node_of_another_cloud_changes_nothing(given):
    plan = plan_node(node(NEW, provider=given), None, PLACE)
    assert (plan.delete, plan.change) == (False, {})
    assert given in plan.event.message


def test_server_id_with_and_without_region():
    regional = Place("RegionOne", regional=True)
    assert provider_id(SERVER, regional) == "openstack://RegionOne/5f0c"
    for given in ("openstack://RegionOne/5f0c", "openstack:///5f0c"):
        assert server_id(node(provider=given), PLACE) == "5f0c"
        assert server_id(node(provider=given), regional) == "5f0c"
    assert server_id(node(), PLACE) == ""


@pytest.mark.parametrize(
    ("text", "label"), [("m1.small", "m1.small"), ("m1 large+", "m1-large"), ("é" * 80, ""), ("a" * 80, "a" * 63)]
)
def test_label_value_is_valid_in_kubernetes(text, label):
    assert label_value(text) == label
