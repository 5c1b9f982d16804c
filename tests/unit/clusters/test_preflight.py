"""Every refusal, by its parameter, its value and what would do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.cloud.memory import network, servers
from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.memory.images import NODE_IMAGE
from moorage.cloud.memory.servers import FLAVORS
from moorage.cloud.port.images import Image
from moorage.cloud.port.network import ExternalNetwork
from moorage.cloud.port.quota import Quota
from moorage.cloud.port.servers import Flavor
from moorage.clusters.preflight.check import check
from moorage.clusters.preflight.offer import CloudOffer, choose_image, cluster_image, group_image, problems
from moorage.model.cluster import ClusterSpec, NodeGroup, Taint
from moorage.model.errors import BadInput, QuotaExceeded

pytestmark = pytest.mark.unit

LARGE = Flavor("m1.large", "f3", 4, 4096, 20)
OFFER = CloudOffer(
    flavors=[*FLAVORS, LARGE],
    images=[NODE_IMAGE],
    external_networks=[ExternalNetwork("3f1c7a52-0000-4000-8000-000000000001", "public")],
    quotas={name: Quota(0, limit) for name, limit in {**servers.LIMITS, **network.LIMITS}.items()},
    addresses=["172.24.4.1"],
    zones=["nova"],
)
THREE = (NodeGroup(count=2), NodeGroup("other", 1))
GOOD = ClusterSpec("demo", flavor="m1.node")


def refusals(spec, offer=OFFER):
    return [str(problem) for problem in problems(spec, offer)]


def test_default_spec_has_no_problems():
    assert refusals(GOOD) == []


@pytest.mark.parametrize(
    ("change", "parameter", "reported"),
    [
        ({"name": "Demo"}, "name 'Demo'", "DNS label"),
        ({"name": "1demo"}, "name '1demo'", "DNS label"),
        ({"name": "demo-"}, "name 'demo-'", "DNS label"),
        ({"name": "d" * 41}, "name", "40 at most"),
        ({"groups": (NodeGroup(count=0), NodeGroup("other", 0))}, "--workers 0", "1 or more workers"),
        ({"groups": (NodeGroup(count=-2),)}, "node group workers: --count -2", "not in its limits of 0 to 1000"),
        ({"groups": (NodeGroup(count=7, max_count=5),)}, "node group workers: --count 7", "0 to 5 nodes"),
        ({"groups": (NodeGroup(min_count=3, max_count=2),)}, "node group workers: --min 3 and --max 2", "0 <= min"),
        ({"groups": (NodeGroup("control-plane"),)}, "node group control-plane", "reserved"),
        ({"groups": (NodeGroup("Big"),)}, "node group 'Big'", "14 at most"),
        ({"groups": (NodeGroup("g" * 17),)}, "node group", "14 at most"),
        ({"groups": (NodeGroup(), NodeGroup())}, "node group workers", "two of that name"),
        ({"groups": (NodeGroup(labels={"a b": "c"}),)}, "node group workers: --label a b=c", "Kubernetes accepts"),
        ({"groups": (NodeGroup(labels={"moorage.io/x": "c"}),)}, "node group workers: --label", "Moorage's own"),
        (
            {"groups": (NodeGroup(labels={"node-role.kubernetes.io/db": ""}),)},
            "node group workers: --label",
            "does not let a node set labels of node-role.kubernetes.io",
        ),
        ({"groups": (NodeGroup(taints=(Taint("gpu", "NoShedule"),)),)}, "node group workers: --taint", "NoSchedule?"),
        ({"groups": (NodeGroup(taints=(Taint("", "NoExecute"),)),)}, "node group workers: --taint", "accepts"),
        ({"groups": (NodeGroup(zones=("nowa",)),)}, "node group workers: --zone nowa", "did you mean nova?"),
        ({"groups": (NodeGroup(image="debian-12"),)}, "node group workers: --image debian-12", "no such image"),
        ({"control_plane_nodes": 3}, "--control-plane-nodes 3", "one control-plane node"),
        ({"control_plane_nodes": 0}, "--control-plane-nodes 0", "one control-plane node"),
        ({"flavor": "m1.nodes"}, "--flavor m1.nodes", "did you mean m1.node?"),
        ({"flavor": "m1.small"}, "--flavor m1.small", "a control plane needs 2000 MB; available: m1.large, m1.node"),
        ({"groups": (NodeGroup(flavor="huge"),)}, "node group workers: --flavor huge", "m1.large, m1.node, m1.small"),
        ({"image": "debian-12"}, "--image debian-12", "no such image; available: moorage-12-1.37.2-0"),
        ({"external_network": "publik"}, "--external-network publik", "did you mean public?"),
        ({"pod_cidr": "10.244.0.0/33"}, "--pod-cidr 10.244.0.0/33", "not an IPv4 network"),
        ({"pod_cidr": "ten"}, "--pod-cidr ten", "a network such as 10.0.0.0/24"),
        ({"node_cidr": "10.0.0.7/24"}, "--node-cidr 10.0.0.7/24", "the network is 10.0.0.0/24"),
        ({"pod_cidr": "10.96.0.0/16"}, "--service-cidr 10.96.0.0/16", "overlaps --pod-cidr 10.96.0.0/16"),
        ({"node_cidr": "10.244.3.0/24"}, "--pod-cidr 10.244.0.0/16", "overlaps --node-cidr 10.244.3.0/24"),
        ({"node_cidr": "10.0.0.0/29", "groups": THREE}, "--node-cidr 10.0.0.0/29", "too few addresses for 4 nodes"),
        ({"pod_cidr": "10.244.0.0/23", "groups": THREE}, "--pod-cidr 10.244.0.0/23", "a /22 or larger"),
        ({"service_cidr": "10.96.0.0/30"}, "--service-cidr 10.96.0.0/30", "between a /12 and a /28"),
        (
            {"node_cidr": "172.24.4.0/24"},
            "--node-cidr 172.24.4.0/24",
            "it contains 172.24.4.1, an address of the cloud",
        ),
        ({"node_port_cidr": "everywhere"}, "--node-port-cidr everywhere", "0.0.0.0/0"),
        ({"dns_nameservers": ("dns.example",)}, "--dns-nameserver dns.example", "not an IPv4 address"),
        ({"registry_mirrors": {"docker.io": "mirror"}}, "--registry-mirror docker.io=mirror", "not a URL"),
    ],
)
def test_problem_names_parameter_value_and_alternative(change, parameter, reported):
    message = refusals(replace(GOOD, **change))
    assert len(message) == 1
    assert message[0].startswith(parameter)
    assert reported in message[0]


@pytest.mark.parametrize(
    ("image", "reported"),
    [
        (Image("img", "i", "active", "", {}), "lacks the properties os_distro=moorage, moorage_version"),
        (replace(NODE_IMAGE, name="img", status="queued"), "it is queued, not active"),
        (replace(NODE_IMAGE, name="img", min_disk=15), "the image needs 15 GB; available: m1.large"),
    ],
)
def test_unbootable_image_is_a_problem(image, reported):
    assert any(reported in text for text in refusals(replace(GOOD, image="img"), replace(OFFER, images=[image])))


def test_cloud_without_node_image_is_a_problem():
    assert refusals(GOOD, replace(OFFER, images=[])) == [
        "--image: this cloud has no Moorage node image; moorage image build, moorage image upload --for server"
    ]


def test_newest_image_is_chosen():
    older = replace(NODE_IMAGE, id="older", created_at="2025-01-01T00:00:00Z")
    chosen = choose_image(None, [older, NODE_IMAGE, Image("debian", "d", "active", "2027", {})])
    assert chosen == NODE_IMAGE


def test_image_of_machine_containers_is_chosen_where_there_is_one():
    disk = replace(NODE_IMAGE, id="disk", created_at="2027-01-01T00:00:00Z", properties=with_format("disk"))
    container = replace(NODE_IMAGE, id="container", properties=with_format("squashfs"))
    assert choose_image(None, [disk, container]) == container
    assert choose_image(None, [disk, replace(container, status="queued")]) == disk
    assert choose_image("disk", [disk, container]) == disk


def with_format(name):
    return {**NODE_IMAGE.properties, "moorage_format": name}


VM = Flavor("m1.vm", "f4", 2, 2048, 10, frozenset({"COMPUTE_IMAGE_TYPE_QCOW2"}))
CONTAINER = replace(NODE_IMAGE, name="container", id="container", properties=with_format("squashfs"))
DISK = replace(NODE_IMAGE, name="disk", id="disk", properties=with_format("disk"))
BOTH = replace(OFFER, flavors=[*FLAVORS, LARGE, VM], images=[CONTAINER, DISK])


def test_image_is_in_the_format_that_the_flavor_boots():
    mixed = replace(GOOD, groups=(NodeGroup(count=1), NodeGroup("vms", 1, flavor="m1.vm")))
    assert refusals(mixed, BOTH) == []
    assert cluster_image(mixed, BOTH) == CONTAINER
    assert [group_image(group, mixed, BOTH) for group in mixed.groups] == [CONTAINER, DISK]
    assert cluster_image(replace(GOOD, flavor="m1.vm"), BOTH) == DISK


def test_group_gets_the_version_of_its_cluster():
    newer = replace(DISK, id="newer", created_at="2030", properties={**DISK.properties, "moorage_version": "13"})
    offer, group = replace(BOTH, images=[CONTAINER, DISK, newer]), NodeGroup("vms", 1, flavor="m1.vm")
    spec = replace(GOOD, image="container", groups=(group,))
    assert group_image(group, spec, offer) == DISK
    (lacking,) = refusals(spec, replace(offer, images=[CONTAINER, newer]))
    assert lacking.startswith("node group vms: --image: the flavor m1.vm boots disks only, and the cloud has none")
    assert lacking.endswith("moorage image upload --for server")


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"flavor": "m1.vm", "image": "container"}, "--image container"),
        ({"groups": (NodeGroup("vms", 1, flavor="m1.vm", image="container"),)}, "node group vms: --image container"),
    ],
)
def test_image_that_the_flavor_does_not_boot_is_a_problem(change, parameter):
    found = refusals(replace(GOOD, **change), BOTH)
    assert any(text.startswith(f"{parameter}: it is for machine containers") for text in found), found


@pytest.mark.parametrize(
    ("name", "used", "limit", "reported"),
    [
        ("instances", 18, 20, "needed 3, available 2 (limit 20, in use 18)"),
        ("cores", 35, 40, "needed 6, available 5"),
        ("ram", 0, 6000, "needed 6144 MB, available 6000 MB"),
        ("ports", 96, 100, "needed 5, available 4"),
        ("floating_ips", 10, 10, "needed 1, available 0"),
        ("networks", 11, 10, "needed 1, available 0"),
    ],
)
def test_quota_problem_has_needed_and_available(name, used, limit, reported):
    message = refusals(GOOD, replace(OFFER, quotas={**OFFER.quotas, name: Quota(used, limit)}))
    assert len(message) == 1
    assert reported in message[0]


def test_unlimited_quota_is_no_problem():
    assert refusals(GOOD, replace(OFFER, quotas={"instances": Quota(900, None)})) == []


ONE_EXTERNAL, TWO_EXTERNAL = OFFER.external_networks, [*OFFER.external_networks, ExternalNetwork("e-2", "other")]


@pytest.mark.parametrize(
    ("networks", "requested", "reported"),
    [
        (ONE_EXTERNAL, "", []),
        (TWO_EXTERNAL, "", ["--external-network: the cloud has several external networks; available: other, public"]),
        (TWO_EXTERNAL, "other", []),
        (TWO_EXTERNAL, "e-2", []),
        ([], "", ["--external-network: the cloud has no external network, so that there are no floating IPs"]),
    ],
)
def test_external_network_may_be_left_out_when_there_is_one(networks, requested, reported):
    found = refusals(replace(GOOD, external_network=requested), replace(OFFER, external_networks=networks))
    assert [line.startswith(start) for line, start in zip(found, reported, strict=True)] == [True] * len(reported)


def test_missing_flavor_is_proposed_by_name():
    (found,) = refusals(replace(GOOD, flavor=""))
    assert found == "--flavor: no flavor was given; m1.node fits: 2 VCPUs, 2048 MB of memory, 10 GB of disk"
    (found,) = refusals(replace(GOOD, flavor=""), replace(OFFER, flavors=FLAVORS[:1]))
    assert "no flavor of this cloud fits" in found


def test_check_completes_what_the_spec_leaves_open():
    cloud = MemoryCloud()
    cloud.defaults = {"flavor": "m1.node", "worker_flavor": "m1.small"}
    checked = check(cloud, ClusterSpec("demo"))
    assert (checked.flavor, checked.groups[0].flavor, checked.external_network) == ("m1.node", "m1.small", "public")
    assert checked.image == checked.groups[0].image == NODE_IMAGE.id
    assert check(cloud, GOOD).groups[0].flavor == "m1.node"


def test_unknown_default_is_rejected():
    cloud = MemoryCloud()
    cloud.defaults = {"flavour": "m1.node"}
    with pytest.raises(BadInput, match=r"moorage\.flavour in clouds.yaml"):
        check(cloud, GOOD)


def test_all_problems_are_reported_together():
    spec = replace(GOOD, name="No", groups=(NodeGroup(count=-1),), flavor="none", external_network="nowhere")
    with pytest.raises(BadInput) as refused:
        check(MemoryCloud(), spec)
    for word in ("4 problems", "'No'", "--count -1", "--flavor none", "--external-network nowhere"):
        assert word in refused.value.message


def test_quota_problems_alone_raise_quota_exceeded():
    cloud = MemoryCloud()
    cloud.servers.limits["instances"] = 1
    with pytest.raises(QuotaExceeded):
        check(cloud, GOOD)
    with pytest.raises(BadInput):
        check(cloud, replace(GOOD, image="none"))
