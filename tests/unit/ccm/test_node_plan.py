"""What is to be done about a node, by what is known of its server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.ccm.nodes.identity import Place, label_value, provider_id, server_id
from moorage.ccm.nodes.plan import SHUTDOWN, UNINITIALIZED, NodePlan, Unknown, plan_node
from moorage.cloud.servers import Address, Instance
from moorage.kube.merge import merged

pytestmark = pytest.mark.unit

PLACE = Place("RegionOne")
SERVER = Instance("5f0c", "demo-w-0", "ACTIVE", "m1.node", "nova", (Address("fixed", "10.0.0.5"),))
NEW = {"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
OTHER = {"key": "mine", "effect": "NoExecute"}


def node(*taints, provider="", **metadata):
    spec = {"taints": list(taints)} | ({"providerID": provider} if provider else {})
    labels = {"kubernetes.io/hostname": "demo-w-0"}
    return {"metadata": {"name": "demo-w-0", "uid": "u", "labels": labels, **metadata}, "spec": spec, "status": {}}


def after(before, plan):
    """The node as it is when the plan was carried out."""
    return merged(merged(before, plan.status), plan.change)


def settled(*taints):
    before = node(NEW, *taints)
    return after(before, plan_node(before, SERVER, PLACE))


def test_plan_new_node_initializes_it():
    done = settled(OTHER)
    assert done["spec"] == {"taints": [OTHER], "providerID": "openstack:///5f0c"}
    assert done["metadata"]["labels"] == {
        "kubernetes.io/hostname": "demo-w-0",
        "node.kubernetes.io/instance-type": "m1.node",
        "topology.kubernetes.io/region": "RegionOne",
        "topology.kubernetes.io/zone": "nova",
    }
    assert done["status"]["addresses"] == [
        {"type": "InternalIP", "address": "10.0.0.5"},
        {"type": "Hostname", "address": "demo-w-0"},
    ]


def test_plan_correct_node_is_idle():
    assert plan_node(settled(), SERVER, PLACE) == NodePlan()
    assert plan_node(settled(OTHER), SERVER, PLACE).idle


def test_plan_changed_label_is_restored():
    changed = merged(settled(), {"metadata": {"labels": {"topology.kubernetes.io/zone": "mars"}}})
    plan = plan_node(changed, SERVER, PLACE)
    assert plan.change == {"metadata": {"labels": {"topology.kubernetes.io/zone": "nova"}}}


def test_plan_server_without_address_keeps_taint():
    before = node(NEW)
    plan = plan_node(before, replace(SERVER, addresses=()), PLACE)
    assert after(before, plan)["spec"]["taints"] == [NEW]
    assert (plan.status, plan.again) == ({}, 2.0)


def test_plan_floating_ip_is_external_and_provided_ip_first():
    fixed = (Address("fixed", "10.9.0.1"), Address("fixed", "10.0.0.5"), Address("floating", "172.24.4.9"))
    told = node(annotations={"alpha.kubernetes.io/provided-node-ip": "10.0.0.5"})
    plan = plan_node(told, replace(SERVER, addresses=fixed), PLACE)
    assert [(entry["type"], entry["address"]) for entry in plan.status["status"]["addresses"]] == [
        ("InternalIP", "10.0.0.5"),
        ("InternalIP", "10.9.0.1"),
        ("ExternalIP", "172.24.4.9"),
        ("Hostname", "demo-w-0"),
    ]


def test_plan_stopped_server_taints_node():
    before = settled(OTHER)
    stopped = after(before, plan_node(before, replace(SERVER, status="SHUTOFF"), PLACE))
    assert stopped["spec"]["taints"] == [OTHER, {"key": SHUTDOWN, "effect": "NoSchedule"}]
    assert plan_node(stopped, replace(SERVER, status="SHUTOFF"), PLACE).idle
    assert after(stopped, plan_node(stopped, SERVER, PLACE)) == before


@pytest.mark.parametrize("status", ["ACTIVE", "REBOOT", "PAUSED", "ERROR", "SOFT_DELETED", "UNKNOWN"])
def test_plan_other_status_does_not_taint(status):
    assert plan_node(settled(), replace(SERVER, status=status), PLACE).idle


def test_plan_deleted_server_deletes_node():
    plan = plan_node(settled(), None, PLACE)
    assert plan.delete
    assert "5f0c was deleted" in plan.notice.message


def test_plan_node_without_server_is_kept():
    plan = plan_node(node(NEW), None, PLACE)
    assert not plan.delete
    assert (plan.change, plan.again) == ({}, 10.0)
    assert "no server of this cluster has the name demo-w-0" in plan.notice.message


@pytest.mark.parametrize("before", [node(NEW), settled()], ids=["new", "settled"])
def test_plan_unknown_server_changes_nothing(before):
    plan = plan_node(before, Unknown("Nova does not answer"), PLACE)
    assert (plan.delete, plan.status, plan.change) == (False, {}, {})
    assert "Nova does not answer" in plan.notice.message


@pytest.mark.parametrize("given", ["aws:///eu/i-1", "openstack://RegionTwo/5f0c", "openstack:///a/b", "openstack:5f0c"])
def test_plan_node_of_other_cloud_is_ignored(given):
    plan = plan_node(node(NEW, provider=given), None, PLACE)
    assert (plan.delete, plan.change) == (False, {})
    assert given in plan.notice.message


def test_server_id_parses_provider_ids():
    regional = Place("RegionOne", regional=True)
    assert provider_id(SERVER, regional) == "openstack://RegionOne/5f0c"
    for given in ("openstack://RegionOne/5f0c", "openstack:///5f0c"):
        assert server_id(node(provider=given), PLACE) == "5f0c"
        assert server_id(node(provider=given), regional) == "5f0c"
    assert server_id(node(), PLACE) == ""


@pytest.mark.parametrize(
    ("text", "label"), [("m1.small", "m1.small"), ("m1 large+", "m1-large"), ("é" * 80, ""), ("a" * 80, "a" * 63)]
)
def test_label_value_follows_kubernetes_rule(text, label):
    assert label_value(text) == label
