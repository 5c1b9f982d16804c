"""CSI's node service: checks each call and allows one at a time for a volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from moorage.csi.cinder.device import BY_ID
from moorage.csi.locks import Locks
from moorage.csi.node import answers
from moorage.csi.node.access import parse_access
from moorage.csi.node.devices import TIMEOUT, Devices
from moorage.csi.node.health import expand, read_health
from moorage.csi.node.publish import Publication, unpublish
from moorage.csi.node.stage import Staging, unmount_all
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from moorage.host.filesystems import Filesystems
from moorage.model.errors import BadInput, Conflict, NotFound


class Node(csi_pb2_grpc.NodeServicer):  # type: ignore[misc,unused-ignore]
    """The volumes of one node.

    `node_id` is the server's id, by which the controller attaches; `zone` is its zone, "" for any; `limit` is the
    maximum number of volumes. `by_id` has the devices' names; `timeout` (seconds) is for a volume that was just
    attached.
    """

    def __init__(
        self,
        filesystems: Filesystems,
        node_id: str,
        zone: str,
        limit: int,
        by_id: Path = BY_ID,
        timeout: float = TIMEOUT,
    ) -> None:
        self.files = filesystems
        self.node_id, self.zone, self.limit = node_id, zone, limit
        self.devices = Devices(by_id, timeout)
        self.locks = Locks()

    def NodeGetInfo(self, request: Any, context: Any) -> Any:
        return answers.info(self.node_id, self.zone, self.limit)

    def NodeGetCapabilities(self, request: Any, context: Any) -> Any:
        return answers.capabilities()

    def NodeStageVolume(self, request: Any, context: Any) -> Any:
        staging, access = _require_path(request, "staging_target_path"), parse_access(request.volume_capability)
        with self.locks.hold(_require_volume(request)):
            device = self.devices.wait_for(request.volume_id)
            if not access.block:
                Staging(self.files, device, staging, access).stage()
        return csi.NodeStageVolumeResponse()

    def NodeUnstageVolume(self, request: Any, context: Any) -> Any:
        staging = _require_path(request, "staging_target_path")
        with self.locks.hold(_require_volume(request)):
            unmount_all(self.files, staging)
        return csi.NodeUnstageVolumeResponse()

    def NodePublishVolume(self, request: Any, context: Any) -> Any:
        target, access = _require_path(request, "target_path"), parse_access(request.volume_capability)
        if not request.staging_target_path:
            raise Conflict("a volume is published from its staging path, and none was given")
        access = replace(access, read_only=access.read_only or request.readonly)
        with self.locks.hold(_require_volume(request)):
            device = self.devices.wait_for(request.volume_id)
            Publication(self.files, device, Path(request.staging_target_path), target, access).publish()
        return csi.NodePublishVolumeResponse()

    def NodeUnpublishVolume(self, request: Any, context: Any) -> Any:
        target = _require_path(request, "target_path")
        with self.locks.hold(_require_volume(request)):
            unpublish(self.files, target)
        return csi.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(self, request: Any, context: Any) -> Any:
        path = _require_path(request, "volume_path")
        return answers.stats(read_health(self.files, self.devices.find(_require_volume(request)), path))

    def NodeExpandVolume(self, request: Any, context: Any) -> Any:
        path, volume = _require_path(request, "volume_path"), _require_volume(request)
        paths = (Path(request.staging_target_path), path) if request.staging_target_path else (path,)
        with self.locks.hold(volume):
            device = self.devices.find(volume)
            if device is None:
                raise NotFound(f"volume {volume} is not on this node")
            size = expand(self.files, device, paths, request.capacity_range.required_bytes)
        return csi.NodeExpandVolumeResponse(capacity_bytes=size)


def _require_volume(request: Any) -> str:
    if not request.volume_id:
        raise BadInput("the request names no volume")
    volume: str = request.volume_id
    return volume


def _require_path(request: Any, name: str) -> Path:
    _require_volume(request)
    path = Path(getattr(request, name))
    if not getattr(request, name):
        raise BadInput(f"the request has no {name}")
    return path
