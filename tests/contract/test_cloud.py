"""The cloud port: OpenStack itself and the cloud in memory behave the same.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud of the tests' own.
"""

from __future__ import annotations

import tempfile
import urllib.request
import uuid
from pathlib import Path

import pytest

from moorage.cloud.memory.cloud import MemoryCloud
from moorage.cloud.openstack import images as openstack_images
from moorage.cloud.openstack.cloud import OpenStackCloud
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.images import ImageFile
from moorage.cloud.port.stacks import StackRequest
from moorage.clusters.preflight.doctor import examine
from moorage.model.credential import CLOUD, clouds_yaml
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound
from moorage.model.ownership import owned_by
from waiting import until

# openstacksdk 4.22 warns of its own InfluxDB support at every connection.
pytestmark = [pytest.mark.contract, pytest.mark.cloud, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]

OUTER = """
heat_template_version: 2021-04-16
parameters:
  word: {type: string}
  table: {type: json, default: {}}
  secret: {type: string, hidden: true, default: hush}
  remove_workers: {type: json, default: []}
resources:
  network:
    type: OS::Neutron::Net
    properties:
      value_specs: {description: {list_join: [" ", [Moorage cluster, {get_param: OS::stack_name}]]}}
  inner: {type: inner.yaml}
  handle: {type: OS::Heat::WaitConditionHandle, properties: {signal_transport: HEAT_SIGNAL}}
  group:
    type: OS::Heat::ResourceGroup
    properties:
      count: 2
      removal_policies: [{resource_list: {get_param: remove_workers}}]
      resource_def: {type: inner.yaml}
outputs:
  word: {value: {get_param: word}}
"""
INNER = """
heat_template_version: 2021-04-16
resources:
  value: {type: OS::Heat::Value, properties: {value: 1}}
"""

MEMBERS = {two: {f"group/{i}" for i in two} | {f"group/{i}/value" for i in two} for two in ("01", "12", "23")}
"""The paths of the group's members, by their indexes."""


@pytest.fixture(params=["memory", "openstack"])
def cloud_port(request):
    if request.param == "memory":
        return MemoryCloud()
    return OpenStackCloud.connect(request.getfixturevalue("cloud_entry"))


@pytest.fixture
def tag():
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def stack(cloud_port, tag):
    name = f"c{uuid.uuid4().hex[:8]}"
    request = StackRequest(name, OUTER, {"inner.yaml": INNER}, {"word": "hello", "table": {"a": "b"}}, ("moorage", tag))
    cloud_port.stacks.create(request)
    yield until(lambda: cloud_port.stacks.get(name), lambda found: found.status == "CREATE_COMPLETE")
    remaining = cloud_port.stacks.get(name)
    if remaining is not None:
        cloud_port.stacks.delete(remaining)
        until(lambda: cloud_port.stacks.get(name), lambda found: found is None)


def test_stack_is_found_by_name_id_and_tag(cloud_port, stack, tag):
    assert cloud_port.stacks.get(stack.id).name == stack.name
    assert set(stack.tags) == {"moorage", tag}
    assert [found.id for found in cloud_port.stacks.list(tag)] == [stack.id]
    assert cloud_port.stacks.list("no-such-tag") == []
    assert cloud_port.stacks.get("no-such-stack") is None


def test_stack_of_the_name_of_a_deleted_one_is_found(cloud_port, stack, tag):
    cloud_port.stacks.delete(stack)
    until(lambda: cloud_port.stacks.get(stack.name), lambda found: found is None)
    assert cloud_port.stacks.get(stack.id) is None
    request = StackRequest(stack.name, OUTER, {"inner.yaml": INNER}, {"word": "again"}, ("moorage", tag))
    until(lambda: cloud_port.stacks.create(request), lambda _: True, yet=(Conflict,))
    again = until(lambda: cloud_port.stacks.get(stack.name), lambda found: found.status == "CREATE_COMPLETE")
    assert again.id != stack.id


def test_stack_parameters_are_text_and_hidden_ones_asterisks(stack):
    assert stack.parameters["word"] == "hello"
    assert stack.parameters["table"] == '{"a": "b"}'
    assert set(stack.parameters["secret"]) == {"*"}


def test_stack_outputs_only_on_request(cloud_port, stack):
    assert cloud_port.stacks.get(stack.id).outputs == {}
    assert cloud_port.stacks.get(stack.id, outputs=True).outputs == {"word": "hello"}


def test_resources_of_nested_stacks_have_paths(cloud_port, stack):
    found = {"/".join(resource.path): resource for resource in cloud_port.stacks.resources(stack)}
    assert set(found) == {"network", "inner", "inner/value", "handle", "group", *MEMBERS["01"]}
    assert {resource.status for resource in found.values()} == {"CREATE_COMPLETE"}
    assert found["network"].type == "OS::Neutron::Net"
    assert found["network"].physical_id


def test_events_have_changes_and_signals_oldest_first(cloud_port, stack):
    assert cloud_port.stacks.signal(stack, "handle", "first")
    until(lambda: cloud_port.stacks.events(stack), _signals)  # Heat records two at once in any order
    assert cloud_port.stacks.signal(stack, "handle", "second: " + 300 * "x", failure=True)
    assert not cloud_port.stacks.signal(stack, "missing", "third")
    found = until(lambda: cloud_port.stacks.events(stack), lambda events: len(_signals(events)) == 2)
    own = [event.status for event in found if event.path == ()]
    assert (own[0], own[-1]) == ("CREATE_IN_PROGRESS", "CREATE_COMPLETE")
    first, second = _signals(found)
    assert first == "status:SUCCESS reason:first"
    assert second.startswith("status:FAILURE reason:second: xxx")
    assert len(second) > 220
    assert [event.time for event in found] == sorted(event.time for event in found)
    assert {len(event.time) for event in found} == {len("2026-01-02T03:04:05Z")}
    cloud_port.stacks.delete(stack)
    until(lambda: cloud_port.stacks.get(stack.name), lambda left: left is None)
    assert not cloud_port.stacks.signal(stack, "handle", "fourth")


def _signals(events):
    return [it.reason.removeprefix("Signal: ") for it in events if it.path == ("handle",) and "SIGNAL" in it.status]


def test_events_of_nested_stacks_have_paths(cloud_port, stack):
    """Heat's own format of the events, of which the memory cloud has only those of failures."""
    found = {"/".join(event.path) for event in cloud_port.stacks.events(stack)}
    assert found == {""} or found == {"", "network", "inner", "inner/value", "handle", "group", *MEMBERS["01"]}


def test_create_stack_with_existing_name_conflicts(cloud_port, stack):
    with pytest.raises(Conflict, match="already exists"):
        cloud_port.stacks.create(StackRequest(stack.name, OUTER, {"inner.yaml": INNER}, {"word": "again"}, ()))


def test_owned_network_resources_until_stack_is_deleted(cloud_port, stack):
    ids = [resource.physical_id for resource in cloud_port.stacks.resources(stack) if resource.path == ("network",)]
    owned = cloud_port.network.owned(stack.name)
    assert [(resource.kind, resource.id) for resource in owned] == [("network", *ids)]
    assert cloud_port.network.owned("missing") == []
    assert [port for port in cloud_port.network.ports(ids) if not port.owner.startswith("network:")] == []
    cloud_port.stacks.delete(stack)
    cloud_port.stacks.delete(stack)
    until(lambda: cloud_port.stacks.get(stack.name), lambda found: found is None)
    cloud_port.stacks.delete(stack)
    assert cloud_port.network.owned(stack.name) == []
    assert cloud_port.stacks.resources(stack) == []


def test_network_that_heat_does_not_know_is_deleted(cloud_entry):
    """All kinds, with a port that seems to be a server's and a router's interface, in the order of a deletion."""
    cloud, name = OpenStackCloud.connect(cloud_entry), f"c{uuid.uuid4().hex[:8]}"
    owner = {"name": name, "description": owned_by(name)}

    def create(kind, **fields):
        body = {kind: {**owner, **fields}}
        return cloud.rest.post("network", f"/{kind.replace('_', '-')}s", body)[kind]["id"]

    network = create("network")
    subnet = create("subnet", network_id=network, cidr="10.9.0.0/24", ip_version=4)
    port = create("port", network_id=network, device_id=str(uuid.uuid4()), device_owner="compute:nova")
    router, group = create("router"), create("security_group")
    cloud.rest.put("network", f"/routers/{router}/add_router_interface", {"subnet_id": subnet})
    (external,) = cloud.network.external_networks()
    address = cloud.network.create_floating_ip(external.id, "", "", owned_by(name))
    owned = cloud.network.owned(name)
    assert {resource.id for resource in owned} == {network, router, group, address.id}
    assert {resource.name for resource in owned} == {name, address.address}
    with pytest.raises(Conflict):
        cloud.network.delete(next(resource for resource in owned if resource.kind == "network"))
    for found in cloud.network.ports([network]):
        if found.owner.startswith("network:router_interface"):
            cloud.network.detach_port(found.id, found.device)
        elif not found.owner.startswith("network:"):
            assert (found.id, found.owner) == (port, "compute:nova")
            cloud.network.delete_port(found.id)
    for resource in owned:
        cloud.network.delete(resource)
        cloud.network.delete(resource)
    assert cloud.network.owned(name) == []


def test_update_stack_without_changes_keeps_resources(cloud_port, stack):
    before = paths(cloud_port, stack)
    cloud_port.stacks.update(stack, {})
    updated = until(lambda: cloud_port.stacks.get(stack.id), lambda found: found.status.endswith("_COMPLETE"))
    assert updated.parameters == stack.parameters
    assert paths(cloud_port, stack) == before
    cloud_port.stacks.delete(stack)
    until(lambda: cloud_port.stacks.get(stack.name), lambda found: found is None)
    cloud_port.stacks.update(stack, {"word": "without effect"})
    assert cloud_port.stacks.get(stack.name) is None


def test_update_stack_removes_group_members_for_ever(cloud_port, stack):
    """Heat creates a new member in place of a removed one, and never uses an index again."""
    before = paths(cloud_port, stack)
    assert {path for path in before if path.startswith("group/")} == MEMBERS["01"]
    for removed, left in (["0"], "12"), (["1"], "23"):
        cloud_port.stacks.update(stack, {"word": "again", "remove_workers": removed})
        updated = until(
            lambda: cloud_port.stacks.get(stack.id, outputs=True), lambda found: found.status == "UPDATE_COMPLETE"
        )
        assert updated.outputs == {"word": "again"}
        after = paths(cloud_port, stack)
        assert {path for path in after if path.startswith("group/")} == MEMBERS[left]
        assert after["network"] == before["network"]


def paths(cloud_port, stack):
    """The ids of a stack's resources, by path."""
    return {"/".join(resource.path): resource.physical_id for resource in cloud_port.stacks.resources(stack)}


@pytest.mark.parametrize("parameters", [{}, {"word": "w", "unknown": "u"}], ids=["missing", "unknown"])
def test_create_stack_with_wrong_parameters_is_rejected(cloud_port, parameters):
    with pytest.raises(BadInput, match="refused"):
        cloud_port.stacks.create(StackRequest("refused", OUTER, {"inner.yaml": INNER}, parameters, ()))
    assert cloud_port.stacks.get("refused") is None


def test_cloud_lists_flavors_images_and_networks(cloud_port):
    flavor = next(flavor for flavor in cloud_port.servers.flavors() if flavor.name == "m1.node")
    assert (flavor.vcpus, flavor.memory, flavor.disk) == (2, 2048, 10)
    (external,) = cloud_port.network.external_networks()
    assert external.name == "public"
    assert cloud_port.identity.addresses() == ["172.24.4.1"]
    assert cloud_port.identity.project == cloud_port.identity.project != ""
    assert cloud_port.identity.region == "RegionOne"


def test_quotas_have_our_names(cloud_port):
    quotas = cloud_port.servers.quotas() | cloud_port.network.quotas()
    names = {"instances", "cores", "ram", "networks", "ports", "routers", "security_groups", "floating_ips"}
    assert names <= set(quotas)
    assert all(quota.used >= 0 and (quota.available is None or quota.available >= 0) for quota in quotas.values())


def test_servers_of_unknown_cluster_is_empty(cloud_port):
    assert cloud_port.servers.list("missing") == []
    cloud_port.servers.delete(str(uuid.uuid4()))
    cloud_port.network.detach_port(str(uuid.uuid4()), str(uuid.uuid4()))
    cloud_port.network.delete_port(str(uuid.uuid4()))


def test_cloud_has_ports_of_other_services(cloud_port):
    assert cloud_port.load_balancers.tagged("no-such-tag") == []
    assert cloud_port.volumes.list("no-such-volume") == []
    assert "nothing" not in {found.description for found in cloud_port.network.floating_ips()}


def test_uploaded_images_are_found_by_name_id_and_property(cloud_port, tmp_path, monkeypatch):
    monkeypatch.setattr(openstack_images, "PAGE", 1)
    file = tmp_path / "image.raw"
    file.write_bytes(b"not much" * 1000)
    word = uuid.uuid4().hex[:8]
    images, names = cloud_port.images, [f"contract-{word}-{number}" for number in range(2)]
    for name in names:
        counts: list[int] = []
        images.upload(ImageFile(name, file, 4, 1024, {"moorage_try": word}), counts.append)
        assert counts[-1] == file.stat().st_size
    found = images.list({"moorage_try": word})
    try:
        assert sorted(image.name for image in found) == names
        assert {(image.status, image.min_disk, image.min_memory) for image in found} == {("active", 4, 1024)}
        assert images.list({"moorage_try": word, "moorage_other": "1"}) == []
        assert [images.find(image.name) for image in found] == [images.find(image.id) for image in found] == found
        assert images.find("no such/image") is None
        images.set_properties(found[0].id, {"moorage_try": "changed", "moorage_long": "line\n" * 200})
        changed = images.find(found[0].id)
        assert (changed.properties["moorage_try"], len(changed.properties["moorage_long"])) == ("changed", 1000)
        with pytest.raises(NotFound):
            images.set_properties(str(uuid.uuid4()), {"a": "b"})
        download = images.download(found[0].id)
        assert download.token not in repr(download)
        if isinstance(cloud_port, OpenStackCloud):
            assert part_of(download, 8) == file.read_bytes()[8:], "a download can be resumed"
    finally:
        for image in found if isinstance(cloud_port, OpenStackCloud) else ():
            cloud_port.rest.delete("image", f"/images/{image.id}")


def part_of(download, begin):
    headers = {"X-Auth-Token": download.token, "Range": f"bytes={begin}-"}
    with urllib.request.urlopen(urllib.request.Request(download.url, headers=headers), timeout=60) as answer:
        assert answer.status == 206
        return answer.read()


@pytest.mark.parametrize(("service", "path"), [("compute", "/flavors"), ("network", "/security-group-rules")])
def test_openstack_list_follows_pages(cloud_entry, service, path):
    rest = Rest.connect(cloud_entry)
    rows = sorted(row["id"] for row in rest.list(service, path))
    assert len(rows) > 1
    assert sorted(row["id"] for row in rest.list(service, path, limit=1)) == rows


def test_credential_is_created_and_revoked(cloud_port):
    cluster = f"c{uuid.uuid4().hex[:8]}"
    first, second = cloud_port.identity.create_credential(cluster), cloud_port.identity.create_credential(cluster)
    assert first.id != second.id
    assert first.secret not in repr(first)
    assert second.auth_url.startswith("http")
    assert set(cloud_port.identity.credentials(cluster)) == {first.id, second.id}
    cloud_port.identity.delete_credential(first.id)
    assert cloud_port.identity.credentials(cluster) == [second.id]
    if isinstance(cloud_port, OpenStackCloud):
        refused_now, accepted = entry_of(first), entry_of(second)
        with pytest.raises(CloudUnreachable, match="refused the credentials"):
            refused_now.check()
        accepted.check()
        with pytest.raises(BadInput, match="application credential"):
            OpenStackCloud(accepted).identity.create_credential(cluster)
    cloud_port.identity.delete_credential(second.id)
    cloud_port.identity.delete_credential(second.id)
    assert cloud_port.identity.credentials(cluster) == []
    if isinstance(cloud_port, OpenStackCloud):
        with pytest.raises(CloudUnreachable, match="refused the credentials"):
            accepted.check()


def test_doctor_finds_what_the_cloud_has_and_leaves_nothing(cloud_port):
    reported = []
    found = {finding.requirement: finding for finding in examine(cloud_port, reported.append)}
    for requirement in ("credentials", "application credential", "external network", "Heat", "flavor", "volumes"):
        assert found[requirement].state == "ok", found[requirement]
    assert "quotas" in found
    (name,) = {stack for text in reported for stack in text.split() if stack.startswith("moorage-doctor-")}
    until(lambda: cloud_port.stacks.get(name) is None)
    assert cloud_port.identity.credentials(name) == []


def entry_of(credential):
    """Connect with the credential's clouds.yaml, as a control plane does."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(clouds_yaml(credential))
        file.flush()
        return Rest.from_file(Path(file.name), CLOUD)
