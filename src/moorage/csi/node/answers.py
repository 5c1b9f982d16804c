"""The responses of CSI's node service."""

from __future__ import annotations

from typing import Any

from moorage.csi.node.health import Health
from moorage.csi.spec import csi_pb2 as csi
from moorage.model.ownership import CINDER_ZONE

ZONE = CINDER_ZONE
"""The topology key of the Cinder CSI plugin: existing volumes have it in their node affinity."""
RPC = csi.NodeServiceCapability.RPC
CAPABILITIES = (
    RPC.STAGE_UNSTAGE_VOLUME,
    RPC.EXPAND_VOLUME,
    RPC.GET_VOLUME_STATS,
    RPC.VOLUME_CONDITION,
    RPC.SINGLE_NODE_MULTI_WRITER,
)
"""Without VOLUME_MOUNT_GROUP: ext4 and xfs have no mount option for it, so the kubelet sets the group of the files."""


def info(node_id: str, zone: str, limit: int) -> Any:
    """The node's id; without a zone it has no topology."""
    response = csi.NodeGetInfoResponse(node_id=node_id, max_volumes_per_node=limit)
    if zone:
        response.accessible_topology.segments[ZONE] = zone
    return response


def capabilities() -> Any:
    rows = [csi.NodeServiceCapability(rpc=RPC(type=kind)) for kind in CAPABILITIES]
    return csi.NodeGetCapabilitiesResponse(capabilities=rows)


def stats(health: Health) -> Any:
    """Usage and condition; an abnormal volume may have no usage."""
    response = csi.NodeGetVolumeStatsResponse(usage=_usage(health))
    response.volume_condition.abnormal = bool(health.fault)
    response.volume_condition.message = health.fault or "healthy"
    return response


def _usage(health: Health) -> list[Any]:
    unit, usage = csi.VolumeUsage.Unit, health.usage
    if usage is None:
        return [csi.VolumeUsage(unit=unit.BYTES, total=health.size)] if health.size else []
    used_inodes = usage.inodes - usage.inodes_free
    return [
        csi.VolumeUsage(unit=unit.BYTES, total=usage.size, used=usage.used, available=usage.free),
        csi.VolumeUsage(unit=unit.INODES, total=usage.inodes, used=used_inodes, available=usage.inodes_free),
    ]
