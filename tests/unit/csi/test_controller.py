"""The controller over its socket, as the sidecars call it: cases that csi-sanity does not test."""

from __future__ import annotations

from threading import Event, Thread

import grpc
import pytest

from memory_backend import backend_on
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.csi.cinder.backend import TOPOLOGY
from moorage.csi.controller import CAPABILITIES, RPC, UNLIMITED, Controller
from moorage.csi.serve import serve
from moorage.csi.size import GIB
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc

pytestmark = pytest.mark.unit

MODE = csi.VolumeCapability.AccessMode


def build_capability(mode=MODE.SINGLE_NODE_WRITER, block=False, fs_type=""):
    capability = csi.VolumeCapability(access_mode=MODE(mode=mode))
    if block:
        capability.block.SetInParent()
    else:
        capability.mount.fs_type = fs_type
        capability.mount.SetInParent()
    return capability


@pytest.fixture
def cinder():
    return MemoryVolumes(servers={"node-1", "node-2"}, zone_names=("east", "west"))


@pytest.fixture
def controller(cinder):
    return Controller(backend_on(cinder), TOPOLOGY)


@pytest.fixture
def stub(controller, tmp_path):
    server = serve(tmp_path / "csi.sock", lambda s: csi_pb2_grpc.add_ControllerServicer_to_server(controller, s))
    with grpc.insecure_channel(f"unix:{tmp_path / 'csi.sock'}") as channel:
        yield csi_pb2_grpc.ControllerStub(channel)
    server.stop(0).wait(5)


def create_request(name="pvc-1", capability=None, **fields):
    return csi.CreateVolumeRequest(name=name, volume_capabilities=[capability or build_capability()], **fields)


def create_volume(stub, name="pvc-1", **fields):
    return stub.CreateVolume(create_request(name, **fields), timeout=5).volume


def publish(stub, volume, node="node-1"):
    request = csi.ControllerPublishVolumeRequest(volume_id=volume, node_id=node, volume_capability=build_capability())
    return stub.ControllerPublishVolume(request, timeout=5)


def get_volume(stub, volume):
    return stub.ControllerGetVolume(csi.ControllerGetVolumeRequest(volume_id=volume), timeout=5)


def call_rejected(call, request):
    """The status code and details of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=5)
    return caught.value.code(), caught.value.details()


def topologies(*zones):
    return [csi.Topology(segments={TOPOLOGY: zone}) for zone in zones]


def test_capabilities_have_their_calls(controller):
    capabilities = controller.ControllerGetCapabilities(csi.ControllerGetCapabilitiesRequest(), None).capabilities
    assert {capability.rpc.type for capability in capabilities} == set(CAPABILITIES)
    base = csi_pb2_grpc.ControllerServicer
    methods = {name for name in vars(base) if name[0].isupper()}
    assert all(getattr(Controller, name) is not getattr(base, name) for name in methods)
    assert RPC.PUBLISH_READONLY not in CAPABILITIES


@pytest.mark.parametrize(
    ("preferred", "requisite", "zone"),
    [(["west", "east"], ["east", "west"], "west"), ([], ["west"], "west"), ([], [], "east")],
)
def test_create_uses_preferred_zone(stub, preferred, requisite, zone):
    requirement = csi.TopologyRequirement(preferred=topologies(*preferred), requisite=topologies(*requisite))
    volume = create_volume(stub, accessibility_requirements=requirement)
    assert [dict(topology.segments) for topology in volume.accessible_topology] == [{TOPOLOGY: zone}]


def test_create_in_unknown_zone_is_invalid(stub):
    requirement = csi.TopologyRequirement(preferred=topologies("mars"))
    code, details = call_rejected(stub.CreateVolume, create_request(accessibility_requirements=requirement))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'mars' for volumes; it has east, west" in details


@pytest.mark.parametrize(
    ("fields", "code", "expected"),
    [
        ({"parameters": {"typo": "x"}}, grpc.StatusCode.INVALID_ARGUMENT, "'typo'"),
        ({"parameters": {"type": "gold"}}, grpc.StatusCode.INVALID_ARGUMENT, "available: fast, files"),
        ({"mutable_parameters": {"type": "gold"}}, grpc.StatusCode.INVALID_ARGUMENT, "available: fast, files"),
        (
            {"capability": build_capability(MODE.MULTI_NODE_MULTI_WRITER)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "ReadWriteOnce",
        ),
        ({"capability": build_capability(fs_type="zfs")}, grpc.StatusCode.INVALID_ARGUMENT, "'zfs'"),
        (
            {"capability": csi.VolumeCapability(access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER))},
            grpc.StatusCode.INVALID_ARGUMENT,
            "neither",
        ),
        ({"capacity_range": {"required_bytes": 2000 * GIB}}, grpc.StatusCode.RESOURCE_EXHAUSTED, "gigabytes"),
        ({"capacity_range": {"required_bytes": 2, "limit_bytes": 1}}, grpc.StatusCode.OUT_OF_RANGE, "at most 1"),
    ],
)
def test_impossible_create_reports_reason(stub, cinder, fields, code, expected):
    actual, message = call_rejected(stub.CreateVolume, create_request(**fields))
    assert (actual, expected in message) == (code, True), message
    assert cinder.list() == []


@pytest.mark.parametrize(
    "capability",
    [build_capability(fs_type="xfs"), build_capability(block=True), build_capability(MODE.SINGLE_NODE_MULTI_WRITER)],
)
def test_supported_capabilities_are_accepted(stub, capability):
    assert create_volume(stub, capability=capability).capacity_bytes == GIB


def test_attributes_class_overrides_storage_class(stub, cinder):
    volume = create_volume(stub, parameters={"type": "files"}, mutable_parameters={"type": "fast"})
    assert cinder.get(volume.volume_id).type == "fast"
    request = csi.ControllerModifyVolumeRequest(volume_id=volume.volume_id, mutable_parameters={"type": "files"})
    stub.ControllerModifyVolume(request, timeout=5)
    assert cinder.get(volume.volume_id).type == "files"


def test_get_volume_has_nodes_and_condition(stub, cinder):
    volume = create_volume(stub).volume_id
    assert dict(publish(stub, volume).publish_context) == {}
    status = get_volume(stub, volume).status
    assert list(status.published_node_ids) == ["node-1"]
    assert (status.volume_condition.abnormal, status.volume_condition.message) == (False, "healthy")
    entries = stub.ListVolumes(csi.ListVolumesRequest(), timeout=5).entries
    assert [list(entry.status.published_node_ids) for entry in entries] == [["node-1"]]
    cinder.failing["extend"] = "not enough space"
    request = csi.ControllerExpandVolumeRequest(volume_id=volume, capacity_range={"required_bytes": 2 * GIB})
    code, details = call_rejected(stub.ControllerExpandVolume, request)
    assert (code, "not enough space" in details) == (grpc.StatusCode.INTERNAL, True)
    assert get_volume(stub, volume).status.volume_condition.abnormal


def test_publish_to_one_node_and_unpublish_from_all(stub):
    volume = create_volume(stub).volume_id
    publish(stub, volume)
    with pytest.raises(grpc.RpcError) as caught:
        publish(stub, volume, "node-2")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    stub.ControllerUnpublishVolume(csi.ControllerUnpublishVolumeRequest(volume_id=volume), timeout=5)
    assert list(get_volume(stub, volume).status.published_node_ids) == []
    publish(stub, volume, "node-2")


def test_publish_to_full_node_is_resource_exhausted(stub, cinder):
    cinder.max_disks = 0
    request = csi.ControllerPublishVolumeRequest(
        volume_id=create_volume(stub).volume_id, node_id="node-1", volume_capability=build_capability()
    )
    code, details = call_rejected(stub.ControllerPublishVolume, request)
    assert (code, "add a node" in details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)


def test_publish_read_only_is_rejected(stub):
    request = csi.ControllerPublishVolumeRequest(
        volume_id=create_volume(stub).volume_id, node_id="node-1", volume_capability=build_capability(), readonly=True
    )
    assert call_rejected(stub.ControllerPublishVolume, request)[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("block", [False, True])
def test_expand_requires_node_for_file_systems(stub, block):
    volume = create_volume(stub).volume_id
    publish(stub, volume)
    request = csi.ControllerExpandVolumeRequest(
        volume_id=volume, capacity_range={"required_bytes": GIB + 1}, volume_capability=build_capability(block=block)
    )
    expanded = stub.ControllerExpandVolume(request, timeout=5)
    assert (expanded.capacity_bytes, expanded.node_expansion_required) == (2 * GIB, not block)
    request.capacity_range.required_bytes, request.capacity_range.limit_bytes = GIB, GIB
    assert call_rejected(stub.ControllerExpandVolume, request)[0] is grpc.StatusCode.OUT_OF_RANGE


def test_create_with_other_size_already_exists(stub):
    create_volume(stub, capacity_range={"required_bytes": 2 * GIB})
    code, details = call_rejected(stub.CreateVolume, create_request(capacity_range={"limit_bytes": GIB}))
    assert (code, "'pvc-1'" in details) == (grpc.StatusCode.ALREADY_EXISTS, True)


def test_volumes_have_content_source(stub):
    volume = create_volume(stub).volume_id
    request = csi.CreateSnapshotRequest(name="s", source_volume_id=volume)
    snapshot = stub.CreateSnapshot(request, timeout=5).snapshot
    assert (snapshot.source_volume_id, snapshot.size_bytes, snapshot.ready_to_use) == (volume, GIB, True)
    assert snapshot.creation_time.seconds > 0
    clone = create_volume(stub, "pvc-2", volume_content_source={"volume": {"volume_id": volume}})
    assert clone.content_source.volume.volume_id == volume
    restored = create_volume(stub, "pvc-3", volume_content_source={"snapshot": {"snapshot_id": snapshot.snapshot_id}})
    assert restored.content_source.snapshot.snapshot_id == snapshot.snapshot_id


def test_list_one_snapshot_sends_one_request(stub, cinder):
    volume = create_volume(stub).volume_id
    snapshot = stub.CreateSnapshot(csi.CreateSnapshotRequest(name="s", source_volume_id=volume), timeout=5).snapshot
    cinder.calls.clear()
    response = stub.ListSnapshots(csi.ListSnapshotsRequest(snapshot_id=snapshot.snapshot_id), timeout=5)
    assert [entry.snapshot.snapshot_id for entry in response.entries] == [snapshot.snapshot_id]
    assert cinder.calls == ["get_snapshot"]


def test_snapshot_of_volume_in_deletion_is_rejected(stub, cinder):
    volume = create_volume(stub).volume_id
    cinder.delete(volume)
    request = csi.CreateSnapshotRequest(name="s", source_volume_id=volume)
    code, details = call_rejected(stub.CreateSnapshot, request)
    assert (code, "being deleted" in details) == (grpc.StatusCode.FAILED_PRECONDITION, True)


def test_capacity_of_zone_or_unlimited(stub, cinder):
    def capacity(zone):
        request = csi.GetCapacityRequest(accessible_topology=csi.Topology(segments={TOPOLOGY: zone}))
        return stub.GetCapacity(request, timeout=5).available_capacity

    assert (capacity("east"), capacity("mars")) == (1000 * GIB, 0)
    del cinder.limits["gigabytes"]
    assert capacity("west") == UNLIMITED


def test_validate_rejects_unsupported_capability(stub):
    volume = create_volume(stub).volume_id
    request = csi.ValidateVolumeCapabilitiesRequest(
        volume_id=volume, volume_capabilities=[build_capability(MODE.MULTI_NODE_READER_ONLY)]
    )
    response = stub.ValidateVolumeCapabilities(request, timeout=5)
    assert not response.HasField("confirmed")
    assert "MULTI_NODE_READER_ONLY" in response.message


def test_unreachable_cloud_is_unavailable(stub, cinder):
    cinder.unreachable = "Cinder of the cloud 'mine' does not answer"
    assert call_rejected(stub.ListVolumes, csi.ListVolumesRequest()) == (
        grpc.StatusCode.UNAVAILABLE,
        "Cinder of the cloud 'mine' does not answer",
    )


def test_concurrent_call_for_volume_is_aborted(stub, cinder):
    volume = create_volume(stub).volume_id
    entered, proceed, attach = Event(), Event(), cinder.attach

    def attach_slowly(server, id):
        entered.set()
        assert proceed.wait(5)
        attach(server, id)

    cinder.attach = attach_slowly
    first = Thread(target=publish, args=(stub, volume))
    first.start()
    assert entered.wait(5)
    assert call_rejected(stub.DeleteVolume, csi.DeleteVolumeRequest(volume_id=volume))[0] is grpc.StatusCode.ABORTED
    assert create_volume(stub, "pvc-2").volume_id
    proceed.set()
    first.join(5)
    assert list(get_volume(stub, volume).status.published_node_ids) == ["node-1"]
