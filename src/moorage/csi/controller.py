"""CSI's controller service over any backend: volumes. One call at a time for each volume."""

from __future__ import annotations

from typing import Any

from moorage.csi import uses
from moorage.csi.backend import Backend, NameTaken, Volume, VolumeRequest
from moorage.csi.controller_snapshots import SnapshotCalls
from moorage.csi.given import given
from moorage.csi.locks import Locks
from moorage.csi.messages import condition, source, volume_message, zone
from moorage.csi.pages import page
from moorage.csi.size import SizeOutOfRange, chosen, fits
from moorage.csi.spec import csi_pb2 as csi
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


class Controller(SnapshotCalls):
    """`topology` is the key of the zone in nodes' topology."""

    def __init__(self, backend: Backend, topology: str) -> None:
        super().__init__(backend, Locks())
        self.topology = topology

    def ControllerGetCapabilities(self, request: Any, context: Any) -> Any:
        capabilities = [csi.ControllerServiceCapability(rpc=RPC(type=type)) for type in CAPABILITIES]
        return csi.ControllerGetCapabilitiesResponse(capabilities=capabilities)

    def CreateVolume(self, request: Any, context: Any) -> Any:
        name = given(request.name, "name")
        uses.check(request.volume_capabilities)
        wanted = VolumeRequest(
            name=name,
            size=chosen(request.capacity_range.required_bytes, request.capacity_range.limit_bytes),
            parameters={**request.parameters, **request.mutable_parameters},
            zone=zone(request.accessibility_requirements, self.topology),
            source=source(request.volume_content_source),
        )
        with self.locks.hold(f"volume {name}"):
            volume = self.backend.create(wanted)
        _check_size(volume, request.capacity_range)
        return csi.CreateVolumeResponse(volume=volume_message(volume, self.topology))

    def DeleteVolume(self, request: Any, context: Any) -> Any:
        handle = given(request.volume_id, "volume_id")
        with self.locks.hold(handle):
            self.backend.delete(handle)
        return csi.DeleteVolumeResponse()

    def ControllerPublishVolume(self, request: Any, context: Any) -> Any:
        handle, node = given(request.volume_id, "volume_id"), given(request.node_id, "node_id")
        uses.check([request.volume_capability] if request.HasField("volume_capability") else [])
        if request.readonly:
            raise BadInput("a volume is read-only by its mount on the node, not by its attachment")
        with self.locks.hold(handle):
            found = self.backend.publish(handle, node)
        return csi.ControllerPublishVolumeResponse(publish_context=found)

    def ControllerUnpublishVolume(self, request: Any, context: Any) -> Any:
        """From all nodes, when the request names none."""
        handle = given(request.volume_id, "volume_id")
        with self.locks.hold(handle):
            for node in [request.node_id] if request.node_id else self._nodes(handle):
                self.backend.unpublish(handle, node)
        return csi.ControllerUnpublishVolumeResponse()

    def ControllerExpandVolume(self, request: Any, context: Any) -> Any:
        handle = given(request.volume_id, "volume_id")
        if not request.HasField("capacity_range"):
            raise BadInput("no capacity_range was given")
        asked = request.capacity_range
        with self.locks.hold(handle):
            volume = self.backend.expand(handle, chosen(asked.required_bytes, asked.limit_bytes))
        if not fits(volume.size, asked.required_bytes, asked.limit_bytes):
            raise SizeOutOfRange(f"volume {handle} has {volume.size} bytes; at most {asked.limit_bytes} were requested")
        block = request.volume_capability.WhichOneof("access_type") == "block"
        return csi.ControllerExpandVolumeResponse(capacity_bytes=volume.size, node_expansion_required=not block)

    def ControllerModifyVolume(self, request: Any, context: Any) -> Any:
        handle = given(request.volume_id, "volume_id")
        with self.locks.hold(handle):
            self.backend.modify(handle, request.mutable_parameters)
        return csi.ControllerModifyVolumeResponse()

    def ControllerGetVolume(self, request: Any, context: Any) -> Any:
        volume = self._there(given(request.volume_id, "volume_id"))
        status = csi.ControllerGetVolumeResponse.VolumeStatus(
            published_node_ids=volume.nodes, volume_condition=condition(volume)
        )
        return csi.ControllerGetVolumeResponse(volume=volume_message(volume, self.topology), status=status)

    def ListVolumes(self, request: Any, context: Any) -> Any:
        rows = [(volume.handle, volume) for volume in self.backend.volumes()]
        shown, token = page(rows, request.starting_token, request.max_entries)
        return csi.ListVolumesResponse(entries=[self._entry(volume) for volume in shown], next_token=token)

    def GetCapacity(self, request: Any, context: Any) -> Any:
        if request.volume_capabilities:
            uses.check(request.volume_capabilities)
        where = request.accessible_topology.segments.get(self.topology, "")
        left = self.backend.capacity(request.parameters, where)
        return csi.GetCapacityResponse(available_capacity=UNLIMITED if left is None else left)

    def ValidateVolumeCapabilities(self, request: Any, context: Any) -> Any:
        handle = given(request.volume_id, "volume_id")
        if not request.volume_capabilities:
            raise BadInput("no volume capability was given")
        self._there(handle)
        answer = csi.ValidateVolumeCapabilitiesResponse()
        try:
            uses.check(request.volume_capabilities)
        except BadInput as error:
            answer.message = error.message
        else:
            answer.confirmed.volume_context.update(request.volume_context)
            answer.confirmed.volume_capabilities.extend(request.volume_capabilities)
            answer.confirmed.parameters.update(request.parameters)
            answer.confirmed.mutable_parameters.update(request.mutable_parameters)
        return answer

    def _there(self, handle: str) -> Volume:
        volume = self.backend.volume(handle)
        if volume is None:
            raise NotFound(f"there is no volume {handle}")
        return volume

    def _nodes(self, handle: str) -> tuple[str, ...]:
        volume = self.backend.volume(handle)
        return () if volume is None else volume.nodes

    def _entry(self, volume: Volume) -> Any:
        status = csi.ListVolumesResponse.VolumeStatus(
            published_node_ids=volume.nodes, volume_condition=condition(volume)
        )
        return csi.ListVolumesResponse.Entry(volume=volume_message(volume, self.topology), status=status)


def _check_size(volume: Volume, asked: Any) -> None:
    """A volume that existed before may have another size."""
    if not fits(volume.size, asked.required_bytes, asked.limit_bytes):
        raise NameTaken(f"volume {volume.handle} has the name {volume.name!r}, and {volume.size} bytes")
