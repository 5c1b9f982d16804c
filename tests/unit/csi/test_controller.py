"""The controller over its socket, as the sidecars speak to it; what csi-sanity does not ask."""

from __future__ import annotations

from threading import Event, Thread

import grpc
import pytest

from moorage.cloud.memory_volumes import MemoryVolumes
from moorage.csi.cinder.backend import TOPOLOGY
from moorage.csi.controller import CAPABILITIES, RPC, UNLIMITED, Controller
from moorage.csi.serve import serve
from moorage.csi.size import GIB
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from still import backend_on

pytestmark = pytest.mark.unit

MODE = csi.VolumeCapability.AccessMode


def use(mode=MODE.SINGLE_NODE_WRITER, block=False, fs_type=""):
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
def calls(controller, tmp_path):
    server = serve(tmp_path / "csi.sock", lambda s: csi_pb2_grpc.add_ControllerServicer_to_server(controller, s))
    with grpc.insecure_channel(f"unix:{tmp_path / 'csi.sock'}") as channel:
        yield csi_pb2_grpc.ControllerStub(channel)
    server.stop(0).wait(5)


def request(name="pvc-1", capability=None, **words):
    return csi.CreateVolumeRequest(name=name, volume_capabilities=[capability or use()], **words)


def made(calls, name="pvc-1", **words):
    return calls.CreateVolume(request(name, **words), timeout=5).volume


def at_node(calls, volume, node="node-1"):
    asked = csi.ControllerPublishVolumeRequest(volume_id=volume, node_id=node, volume_capability=use())
    return calls.ControllerPublishVolume(asked, timeout=5)


def seen(calls, volume):
    return calls.ControllerGetVolume(csi.ControllerGetVolumeRequest(volume_id=volume), timeout=5)


def refused(call, message):
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=5)
    return caught.value.code(), caught.value.details()


def where(*zones):
    return [csi.Topology(segments={TOPOLOGY: zone}) for zone in zones]


def test_capabilities_have_their_calls(controller):
    message = controller.ControllerGetCapabilities(csi.ControllerGetCapabilitiesRequest(), None).capabilities
    assert {capability.rpc.type for capability in message} == set(CAPABILITIES)
    base = csi_pb2_grpc.ControllerServicer
    calls = {name for name in vars(base) if name[0].isupper()}
    assert all(getattr(Controller, name) is not getattr(base, name) for name in calls)
    assert RPC.PUBLISH_READONLY not in CAPABILITIES


@pytest.mark.parametrize(
    ("preferred", "requisite", "zone"),
    [(["west", "east"], ["east", "west"], "west"), ([], ["west"], "west"), ([], [], "east")],
)
def test_create_uses_preferred_zone(calls, preferred, requisite, zone):
    wanted = csi.TopologyRequirement(preferred=where(*preferred), requisite=where(*requisite))
    volume = made(calls, accessibility_requirements=wanted)
    assert [dict(topology.segments) for topology in volume.accessible_topology] == [{TOPOLOGY: zone}]


def test_create_in_unknown_zone_is_invalid(calls):
    wanted = csi.TopologyRequirement(preferred=where("mars"))
    code, words = refused(calls.CreateVolume, request(accessibility_requirements=wanted))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'mars' for volumes; it has east, west" in words


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        ({"parameters": {"typo": "x"}}, grpc.StatusCode.INVALID_ARGUMENT, "'typo'"),
        ({"parameters": {"type": "gold"}}, grpc.StatusCode.INVALID_ARGUMENT, "available: fast, files"),
        ({"mutable_parameters": {"type": "gold"}}, grpc.StatusCode.INVALID_ARGUMENT, "available: fast, files"),
        ({"capability": use(MODE.MULTI_NODE_MULTI_WRITER)}, grpc.StatusCode.INVALID_ARGUMENT, "ReadWriteOnce"),
        ({"capability": use(fs_type="zfs")}, grpc.StatusCode.INVALID_ARGUMENT, "'zfs'"),
        (
            {"capability": csi.VolumeCapability(access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER))},
            grpc.StatusCode.INVALID_ARGUMENT,
            "neither",
        ),
        ({"capacity_range": {"required_bytes": 2000 * GIB}}, grpc.StatusCode.RESOURCE_EXHAUSTED, "gigabytes"),
        ({"capacity_range": {"required_bytes": 2, "limit_bytes": 1}}, grpc.StatusCode.OUT_OF_RANGE, "at most 1"),
    ],
)
def test_impossible_create_reports_reason(calls, cinder, words, code, reported):
    got, message = refused(calls.CreateVolume, request(**words))
    assert (got, reported in message) == (code, True), message
    assert cinder.list() == []


@pytest.mark.parametrize("capability", [use(fs_type="xfs"), use(block=True), use(MODE.SINGLE_NODE_MULTI_WRITER)])
def test_supported_capabilities_are_accepted(calls, capability):
    assert made(calls, capability=capability).capacity_bytes == GIB


def test_attributes_class_overrides_storage_class(calls, cinder):
    volume = made(calls, parameters={"type": "files"}, mutable_parameters={"type": "fast"})
    assert cinder.get(volume.volume_id).type == "fast"
    asked = csi.ControllerModifyVolumeRequest(volume_id=volume.volume_id, mutable_parameters={"type": "files"})
    calls.ControllerModifyVolume(asked, timeout=5)
    assert cinder.get(volume.volume_id).type == "files"


def test_get_volume_has_nodes_and_condition(calls, cinder):
    volume = made(calls).volume_id
    assert dict(at_node(calls, volume).publish_context) == {}
    status = seen(calls, volume).status
    assert list(status.published_node_ids) == ["node-1"]
    assert (status.volume_condition.abnormal, status.volume_condition.message) == (False, "healthy")
    listed = calls.ListVolumes(csi.ListVolumesRequest(), timeout=5).entries
    assert [list(entry.status.published_node_ids) for entry in listed] == [["node-1"]]
    cinder.failing["extend"] = "no room"
    asked = csi.ControllerExpandVolumeRequest(volume_id=volume, capacity_range={"required_bytes": 2 * GIB})
    code, words = refused(calls.ControllerExpandVolume, asked)
    assert (code, "no room" in words) == (grpc.StatusCode.INTERNAL, True)
    assert seen(calls, volume).status.volume_condition.abnormal


def test_publish_to_one_node_and_unpublish_from_all(calls):
    volume = made(calls).volume_id
    at_node(calls, volume)
    with pytest.raises(grpc.RpcError) as caught:
        at_node(calls, volume, "node-2")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    calls.ControllerUnpublishVolume(csi.ControllerUnpublishVolumeRequest(volume_id=volume), timeout=5)
    assert list(seen(calls, volume).status.published_node_ids) == []
    at_node(calls, volume, "node-2")


def test_publish_to_full_node_is_resource_exhausted(calls, cinder):
    cinder.max_disks = 0
    asked = csi.ControllerPublishVolumeRequest(
        volume_id=made(calls).volume_id, node_id="node-1", volume_capability=use()
    )
    code, words = refused(calls.ControllerPublishVolume, asked)
    assert (code, "add a node" in words) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)


def test_publish_read_only_is_rejected(calls):
    asked = csi.ControllerPublishVolumeRequest(
        volume_id=made(calls).volume_id, node_id="node-1", volume_capability=use(), readonly=True
    )
    assert refused(calls.ControllerPublishVolume, asked)[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("block", [False, True])
def test_expand_requires_node_for_file_systems(calls, block):
    volume = made(calls).volume_id
    at_node(calls, volume)
    asked = csi.ControllerExpandVolumeRequest(
        volume_id=volume, capacity_range={"required_bytes": GIB + 1}, volume_capability=use(block=block)
    )
    grown = calls.ControllerExpandVolume(asked, timeout=5)
    assert (grown.capacity_bytes, grown.node_expansion_required) == (2 * GIB, not block)
    asked.capacity_range.required_bytes, asked.capacity_range.limit_bytes = GIB, GIB
    assert refused(calls.ControllerExpandVolume, asked)[0] is grpc.StatusCode.OUT_OF_RANGE


def test_create_with_other_size_already_exists(calls):
    made(calls, capacity_range={"required_bytes": 2 * GIB})
    code, words = refused(calls.CreateVolume, request(capacity_range={"limit_bytes": GIB}))
    assert (code, "'pvc-1'" in words) == (grpc.StatusCode.ALREADY_EXISTS, True)


def test_volumes_have_content_source(calls):
    volume = made(calls).volume_id
    asked = csi.CreateSnapshotRequest(name="s", source_volume_id=volume)
    snapshot = calls.CreateSnapshot(asked, timeout=5).snapshot
    assert (snapshot.source_volume_id, snapshot.size_bytes, snapshot.ready_to_use) == (volume, GIB, True)
    assert snapshot.creation_time.seconds > 0
    clone = made(calls, "pvc-2", volume_content_source={"volume": {"volume_id": volume}})
    assert clone.content_source.volume.volume_id == volume
    restored = made(calls, "pvc-3", volume_content_source={"snapshot": {"snapshot_id": snapshot.snapshot_id}})
    assert restored.content_source.snapshot.snapshot_id == snapshot.snapshot_id


def test_list_one_snapshot_makes_one_call(calls, cinder):
    volume = made(calls).volume_id
    taken = calls.CreateSnapshot(csi.CreateSnapshotRequest(name="s", source_volume_id=volume), timeout=5).snapshot
    cinder.calls.clear()
    listed = calls.ListSnapshots(csi.ListSnapshotsRequest(snapshot_id=taken.snapshot_id), timeout=5)
    assert [entry.snapshot.snapshot_id for entry in listed.entries] == [taken.snapshot_id]
    assert cinder.calls == ["get_snapshot"]


def test_snapshot_of_volume_in_deletion_is_rejected(calls, cinder):
    volume = made(calls).volume_id
    cinder.delete(volume)
    asked = csi.CreateSnapshotRequest(name="s", source_volume_id=volume)
    code, words = refused(calls.CreateSnapshot, asked)
    assert (code, "being deleted" in words) == (grpc.StatusCode.FAILED_PRECONDITION, True)


def test_capacity_of_zone_or_unlimited(calls, cinder):
    def capacity(zone):
        asked = csi.GetCapacityRequest(accessible_topology=csi.Topology(segments={TOPOLOGY: zone}))
        return calls.GetCapacity(asked, timeout=5).available_capacity

    assert (capacity("east"), capacity("mars")) == (1000 * GIB, 0)
    del cinder.limits["gigabytes"]
    assert capacity("west") == UNLIMITED


def test_validate_rejects_unsupported_capability(calls):
    volume = made(calls).volume_id
    asked = csi.ValidateVolumeCapabilitiesRequest(
        volume_id=volume, volume_capabilities=[use(MODE.MULTI_NODE_READER_ONLY)]
    )
    answer = calls.ValidateVolumeCapabilities(asked, timeout=5)
    assert not answer.HasField("confirmed")
    assert "MULTI_NODE_READER_ONLY" in answer.message


def test_unreachable_cloud_is_unavailable(calls, cinder):
    cinder.unreachable = "Cinder of the cloud 'mine' does not answer"
    assert refused(calls.ListVolumes, csi.ListVolumesRequest()) == (
        grpc.StatusCode.UNAVAILABLE,
        "Cinder of the cloud 'mine' does not answer",
    )


def test_concurrent_call_for_volume_is_aborted(calls, cinder):
    volume = made(calls).volume_id
    entered, go_on, attach = Event(), Event(), cinder.attach

    def slow(server, id):
        entered.set()
        assert go_on.wait(5)
        attach(server, id)

    cinder.attach = slow
    first = Thread(target=at_node, args=(calls, volume))
    first.start()
    assert entered.wait(5)
    assert refused(calls.DeleteVolume, csi.DeleteVolumeRequest(volume_id=volume))[0] is grpc.StatusCode.ABORTED
    assert made(calls, "pvc-2").volume_id
    go_on.set()
    first.join(5)
    assert list(seen(calls, volume).status.published_node_ids) == ["node-1"]
