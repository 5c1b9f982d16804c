"""CSI's controller service over any backend. One call at a time for each volume or snapshot."""

from __future__ import annotations

from moorage.csi.backend import Backend, NameTaken, Snapshot, Volume, VolumeRequest
from moorage.csi.locks import Locks
from moorage.csi.messages import (
    check_capabilities,
    paginate,
    parse_source,
    preferred_zone,
    require_field,
    snapshot_message,
    volume_condition,
    volume_message,
)
from moorage.csi.size import SizeOutOfRange, choose_size, is_in_range
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.model.errors import BadInput, NotFound

RPC = csi.ControllerServiceCapability.RPC
CAPABILITIES = (
    RPC.CREATE_DELETE_VOLUME,
    RPC.PUBLISH_UNPUBLISH_VOLUME,
    RPC.LIST_VOLUMES,
    RPC.LIST_VOLUMES_PUBLISHED_NODES,
    RPC.GET_VOLUME,
    RPC.VOLUME_CONDITION,
    RPC.EXPAND_VOLUME,
    RPC.CREATE_DELETE_SNAPSHOT,
    RPC.LIST_SNAPSHOTS,
    RPC.GET_SNAPSHOT,
    RPC.CLONE_VOLUME,
    RPC.SINGLE_NODE_MULTI_WRITER,
    RPC.MODIFY_VOLUME,
    RPC.GET_CAPACITY,
)
UNLIMITED = 2**63 - 1  # bytes; the largest number that the response can hold


class SnapshotCalls(csi_pb2_grpc.ControllerServicer):  # type: ignore[misc,unused-ignore]
    """One call at a time for each snapshot."""

    def __init__(self, backend: Backend, locks: Locks) -> None:
        self.backend = backend
        self.locks = locks

    def CreateSnapshot(self, request: csi.CreateSnapshotRequest, context: object) -> csi.CreateSnapshotResponse:
        """The snapshot, possibly before it is ready: the caller repeats the call until it is."""
        name, volume = require_field(request.name, "name"), require_field(request.source_volume_id, "source_volume_id")
        with self.locks.hold(f"snapshot {name}"):
            snapshot = self.backend.snapshot(name, volume, request.parameters)
        return csi.CreateSnapshotResponse(snapshot=snapshot_message(snapshot))

    def DeleteSnapshot(self, request: csi.DeleteSnapshotRequest, context: object) -> csi.DeleteSnapshotResponse:
        handle = require_field(request.snapshot_id, "snapshot_id")
        with self.locks.hold(handle):
            self.backend.delete_snapshot(handle)
        return csi.DeleteSnapshotResponse()

    def GetSnapshot(self, request: csi.GetSnapshotRequest, context: object) -> csi.GetSnapshotResponse:
        handle = require_field(request.snapshot_id, "snapshot_id")
        snapshot = self.backend.find_snapshot(handle)
        if snapshot is None:
            raise NotFound(f"snapshot {handle} does not exist")
        return csi.GetSnapshotResponse(snapshot=snapshot_message(snapshot))

    def ListSnapshots(self, request: csi.ListSnapshotsRequest, context: object) -> csi.ListSnapshotsResponse:
        rows = [(snapshot.handle, snapshot) for snapshot in self._find_snapshots(request)]
        snapshots, token = paginate(rows, request.starting_token, request.max_entries)
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=snapshot_message(snapshot)) for snapshot in snapshots]
        return csi.ListSnapshotsResponse(entries=entries, next_token=token)

    def _find_snapshots(self, request: csi.ListSnapshotsRequest) -> list[Snapshot]:
        """All snapshots, or those of a volume, or only the one that the request names, without listing the others."""
        if request.snapshot_id:
            requested = self.backend.find_snapshot(request.snapshot_id)
            snapshots = [] if requested is None else [requested]
        else:
            snapshots = self.backend.snapshots()
        return [snapshot for snapshot in snapshots if request.source_volume_id in ("", snapshot.volume)]


class Controller(SnapshotCalls):
    """`topology` is the key of the zone in nodes' topology."""

    def __init__(self, backend: Backend, topology: str) -> None:
        super().__init__(backend, Locks())
        self.topology = topology

    def ControllerGetCapabilities(
        self, request: csi.ControllerGetCapabilitiesRequest, context: object
    ) -> csi.ControllerGetCapabilitiesResponse:
        capabilities = [csi.ControllerServiceCapability(rpc=RPC(type=type)) for type in CAPABILITIES]
        return csi.ControllerGetCapabilitiesResponse(capabilities=capabilities)

    def CreateVolume(self, request: csi.CreateVolumeRequest, context: object) -> csi.CreateVolumeResponse:
        name = require_field(request.name, "name")
        check_capabilities(request.volume_capabilities)
        new = VolumeRequest(
            name=name,
            size=choose_size(request.capacity_range.required_bytes, request.capacity_range.limit_bytes),
            parameters={**request.parameters, **request.mutable_parameters},
            zone=preferred_zone(request.accessibility_requirements, self.topology),
            source=parse_source(request.volume_content_source),
        )
        with self.locks.hold(f"volume {name}"):
            volume = self.backend.create(new)
        _check_size(volume, request.capacity_range)
        return csi.CreateVolumeResponse(volume=volume_message(volume, self.topology))

    def DeleteVolume(self, request: csi.DeleteVolumeRequest, context: object) -> csi.DeleteVolumeResponse:
        handle = require_field(request.volume_id, "volume_id")
        with self.locks.hold(handle):
            self.backend.delete(handle)
        return csi.DeleteVolumeResponse()

    def ControllerPublishVolume(
        self, request: csi.ControllerPublishVolumeRequest, context: object
    ) -> csi.ControllerPublishVolumeResponse:
        handle, node = require_field(request.volume_id, "volume_id"), require_field(request.node_id, "node_id")
        check_capabilities([request.volume_capability] if request.HasField("volume_capability") else [])
        if request.readonly:
            raise BadInput("a volume is read-only by its mount on the node, not by its attachment")
        with self.locks.hold(handle):
            publish_context = self.backend.publish(handle, node)
        return csi.ControllerPublishVolumeResponse(publish_context=publish_context)

    def ControllerUnpublishVolume(
        self, request: csi.ControllerUnpublishVolumeRequest, context: object
    ) -> csi.ControllerUnpublishVolumeResponse:
        """Detach the volume from all nodes when the request names none."""
        handle = require_field(request.volume_id, "volume_id")
        with self.locks.hold(handle):
            for node in [request.node_id] if request.node_id else self._attached_nodes(handle):
                self.backend.unpublish(handle, node)
        return csi.ControllerUnpublishVolumeResponse()

    def ControllerExpandVolume(
        self, request: csi.ControllerExpandVolumeRequest, context: object
    ) -> csi.ControllerExpandVolumeResponse:
        handle = require_field(request.volume_id, "volume_id")
        if not request.HasField("capacity_range"):
            raise BadInput("no capacity_range was given")
        required, limit = request.capacity_range.required_bytes, request.capacity_range.limit_bytes
        with self.locks.hold(handle):
            volume = self.backend.expand(handle, choose_size(required, limit))
        if not is_in_range(volume.size, required, limit):
            raise SizeOutOfRange(f"volume {handle} has {volume.size} bytes; at most {limit} were requested")
        block = request.volume_capability.WhichOneof("access_type") == "block"
        return csi.ControllerExpandVolumeResponse(capacity_bytes=volume.size, node_expansion_required=not block)

    def ControllerModifyVolume(
        self, request: csi.ControllerModifyVolumeRequest, context: object
    ) -> csi.ControllerModifyVolumeResponse:
        handle = require_field(request.volume_id, "volume_id")
        with self.locks.hold(handle):
            self.backend.modify(handle, request.mutable_parameters)
        return csi.ControllerModifyVolumeResponse()

    def ControllerGetVolume(
        self, request: csi.ControllerGetVolumeRequest, context: object
    ) -> csi.ControllerGetVolumeResponse:
        volume = self._require_volume(require_field(request.volume_id, "volume_id"))
        status = csi.ControllerGetVolumeResponse.VolumeStatus(
            published_node_ids=volume.nodes, volume_condition=volume_condition(volume)
        )
        return csi.ControllerGetVolumeResponse(volume=volume_message(volume, self.topology), status=status)

    def ListVolumes(self, request: csi.ListVolumesRequest, context: object) -> csi.ListVolumesResponse:
        rows = [(volume.handle, volume) for volume in self.backend.volumes()]
        volumes, token = paginate(rows, request.starting_token, request.max_entries)
        return csi.ListVolumesResponse(entries=[self._list_entry(volume) for volume in volumes], next_token=token)

    def GetCapacity(self, request: csi.GetCapacityRequest, context: object) -> csi.GetCapacityResponse:
        if request.volume_capabilities:
            check_capabilities(request.volume_capabilities)
        zone = request.accessible_topology.segments.get(self.topology, "")
        available = self.backend.capacity(request.parameters, zone)
        return csi.GetCapacityResponse(available_capacity=UNLIMITED if available is None else available)

    def ValidateVolumeCapabilities(
        self, request: csi.ValidateVolumeCapabilitiesRequest, context: object
    ) -> csi.ValidateVolumeCapabilitiesResponse:
        handle = require_field(request.volume_id, "volume_id")
        if not request.volume_capabilities:
            raise BadInput("no volume capability was given")
        self._require_volume(handle)
        response = csi.ValidateVolumeCapabilitiesResponse()
        try:
            check_capabilities(request.volume_capabilities)
        except BadInput as error:
            response.message = error.message
        else:
            response.confirmed.volume_context.update(request.volume_context)
            response.confirmed.volume_capabilities.extend(request.volume_capabilities)
            response.confirmed.parameters.update(request.parameters)
            response.confirmed.mutable_parameters.update(request.mutable_parameters)
        return response

    def _require_volume(self, handle: str) -> Volume:
        volume = self.backend.volume(handle)
        if volume is None:
            raise NotFound(f"volume {handle} does not exist")
        return volume

    def _attached_nodes(self, handle: str) -> tuple[str, ...]:
        volume = self.backend.volume(handle)
        return () if volume is None else volume.nodes

    def _list_entry(self, volume: Volume) -> csi.ListVolumesResponse.Entry:
        status = csi.ListVolumesResponse.VolumeStatus(
            published_node_ids=volume.nodes, volume_condition=volume_condition(volume)
        )
        return csi.ListVolumesResponse.Entry(volume=volume_message(volume, self.topology), status=status)


def _check_size(volume: Volume, capacity_range: csi.CapacityRange) -> None:
    """A volume that existed before may have another size."""
    if not is_in_range(volume.size, capacity_range.required_bytes, capacity_range.limit_bytes):
        raise NameTaken(f"volume {volume.handle} has the name {volume.name!r}, and {volume.size} bytes")
