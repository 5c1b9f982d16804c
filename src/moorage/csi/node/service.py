"""CSI's node service: checks each call and allows one at a time for a volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from moorage.csi.backend import Attacher
from moorage.csi.locks import Locks
from moorage.csi.node.access import parse_access
from moorage.csi.node.health import Health, expand, read_health
from moorage.csi.node.mounts import Publication, Staging, unmount_all, unpublish
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.host.filesystems import Filesystems
from moorage.model.errors import BadInput, Conflict, NotFound

RPC = csi.NodeServiceCapability.RPC
CAPABILITIES = (
    RPC.STAGE_UNSTAGE_VOLUME,
    RPC.EXPAND_VOLUME,
    RPC.GET_VOLUME_STATS,
    RPC.VOLUME_CONDITION,
    RPC.SINGLE_NODE_MULTI_WRITER,
)
"""Without VOLUME_MOUNT_GROUP: ext4 and xfs have no mount option for it, so the kubelet sets the group of the files."""


class VolumeCall(Protocol):
    """A request about one volume."""

    volume_id: str


class Node(csi_pb2_grpc.NodeServicer):  # type: ignore[misc,unused-ignore]
    """The volumes of one node.

    `node_id` is the server's id, by which the controller attaches; `zone` is its zone, "" for any, and `topology` the
    key of zones in nodes' topology; `limit` is the maximum number of volumes.
    """

    def __init__(
        self, files: Filesystems, attacher: Attacher, node_id: str, zone: str, topology: str, limit: int
    ) -> None:
        self.files, self.attacher = files, attacher
        self.node_id, self.zone, self.topology, self.limit = node_id, zone, topology, limit
        self.locks = Locks()

    def NodeGetInfo(self, request: csi.NodeGetInfoRequest, context: object) -> csi.NodeGetInfoResponse:
        """Without a zone, the node has no topology."""
        response = csi.NodeGetInfoResponse(node_id=self.node_id, max_volumes_per_node=self.limit)
        if self.zone:
            response.accessible_topology.segments[self.topology] = self.zone
        return response

    def NodeGetCapabilities(
        self, request: csi.NodeGetCapabilitiesRequest, context: object
    ) -> csi.NodeGetCapabilitiesResponse:
        rows = [csi.NodeServiceCapability(rpc=RPC(type=kind)) for kind in CAPABILITIES]
        return csi.NodeGetCapabilitiesResponse(capabilities=rows)

    def NodeStageVolume(self, request: csi.NodeStageVolumeRequest, context: object) -> csi.NodeStageVolumeResponse:
        staging, access = _require_path(request, "staging_target_path"), parse_access(request.volume_capability)
        with self.locks.hold(_require_volume(request)):
            device = self.attacher.wait_for(request.volume_id)
            if not access.block:
                Staging(self.files, device, staging, access).stage()
        return csi.NodeStageVolumeResponse()

    def NodeUnstageVolume(
        self, request: csi.NodeUnstageVolumeRequest, context: object
    ) -> csi.NodeUnstageVolumeResponse:
        staging = _require_path(request, "staging_target_path")
        with self.locks.hold(_require_volume(request)):
            unmount_all(self.files, staging)
        return csi.NodeUnstageVolumeResponse()

    def NodePublishVolume(
        self, request: csi.NodePublishVolumeRequest, context: object
    ) -> csi.NodePublishVolumeResponse:
        target, access = _require_path(request, "target_path"), parse_access(request.volume_capability)
        if not request.staging_target_path:
            raise Conflict("a volume is published from its staging path, and none was given")
        access = replace(access, read_only=access.read_only or request.readonly)
        with self.locks.hold(_require_volume(request)):
            device = self.attacher.wait_for(request.volume_id)
            Publication(self.files, device, Path(request.staging_target_path), target, access).publish()
        return csi.NodePublishVolumeResponse()

    def NodeUnpublishVolume(
        self, request: csi.NodeUnpublishVolumeRequest, context: object
    ) -> csi.NodeUnpublishVolumeResponse:
        target = _require_path(request, "target_path")
        with self.locks.hold(_require_volume(request)):
            unpublish(self.files, target)
        return csi.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(
        self, request: csi.NodeGetVolumeStatsRequest, context: object
    ) -> csi.NodeGetVolumeStatsResponse:
        path = _require_path(request, "volume_path")
        return _stats(read_health(self.files, self.attacher.find(_require_volume(request)), path))

    def NodeExpandVolume(self, request: csi.NodeExpandVolumeRequest, context: object) -> csi.NodeExpandVolumeResponse:
        path, volume = _require_path(request, "volume_path"), _require_volume(request)
        paths = (Path(request.staging_target_path), path) if request.staging_target_path else (path,)
        with self.locks.hold(volume):
            device = self.attacher.find(volume)
            if device is None:
                raise NotFound(f"volume {volume} is not on this node")
            size = expand(self.files, device, paths, request.capacity_range.required_bytes)
        return csi.NodeExpandVolumeResponse(capacity_bytes=size)


def _require_volume(request: VolumeCall) -> str:
    if not request.volume_id:
        raise BadInput("the request names no volume")
    volume: str = request.volume_id
    return volume


def _require_path(request: VolumeCall, name: str) -> Path:
    _require_volume(request)
    path = Path(getattr(request, name))
    if not getattr(request, name):
        raise BadInput(f"the request has no {name}")
    return path


def _stats(health: Health) -> csi.NodeGetVolumeStatsResponse:
    """Usage and condition; an abnormal volume may have no usage."""
    response = csi.NodeGetVolumeStatsResponse(usage=_usage(health))
    response.volume_condition.abnormal = bool(health.fault)
    response.volume_condition.message = health.fault or "healthy"
    return response


def _usage(health: Health) -> list[csi.VolumeUsage]:
    unit, usage = csi.VolumeUsage.Unit, health.usage
    if usage is None:
        return [csi.VolumeUsage(unit=unit.BYTES, total=health.size)] if health.size else []
    used_inodes = usage.inodes - usage.inodes_free
    return [
        csi.VolumeUsage(unit=unit.BYTES, total=usage.size, used=usage.used, available=usage.free),
        csi.VolumeUsage(unit=unit.INODES, total=usage.inodes, used=used_inodes, available=usage.inodes_free),
    ]
