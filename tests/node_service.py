"""Calls to CSI's Node service as kubelet makes them, for the tests that hold it against disks of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage.csi.cinder.device import CinderAttacher, device_names
from moorage.csi.node.service import Node
from moorage.csi.spec import csi_pb2 as csi
from moorage.model.ownership import CINDER_ZONE

MODE = csi.VolumeCapability.AccessMode


def plug(folder: Path, volume: str, device: Path) -> None:
    """Name a device as udev does."""
    folder.mkdir(exist_ok=True)
    (folder / device_names(volume)[0]).symlink_to(device)


def capability(
    kind: str = "ext4", mode: int = MODE.SINGLE_NODE_WRITER, flags: Sequence[str] = (), *, block: bool = False
) -> Any:
    made = csi.VolumeCapability(access_mode=MODE(mode=mode))
    if block:
        made.block.SetInParent()
    else:
        made.mount.fs_type = kind
        made.mount.mount_flags.extend(flags)
    return made


@dataclass(frozen=True)
class Kubelet:
    """A node with one volume. `call` makes a call by its name."""

    call: Callable[[str, Any], Any]
    volume: str
    staging: Path
    pods: Path

    def target(self, pod: str = "pod-1") -> Path:
        return self.pods / pod / "mount"

    def stage(self, wanted: Any = None) -> None:
        self.call(
            "NodeStageVolume",
            csi.NodeStageVolumeRequest(
                volume_id=self.volume,
                staging_target_path=str(self.staging),
                volume_capability=wanted or capability(),
            ),
        )

    def unstage(self) -> None:
        asked = csi.NodeUnstageVolumeRequest(volume_id=self.volume, staging_target_path=str(self.staging))
        self.call("NodeUnstageVolume", asked)

    def publish(self, wanted: Any = None, *, read_only: bool = False, pod: str = "pod-1") -> None:
        self.call(
            "NodePublishVolume",
            csi.NodePublishVolumeRequest(
                volume_id=self.volume,
                staging_target_path=str(self.staging),
                target_path=str(self.target(pod)),
                volume_capability=wanted or capability(),
                readonly=read_only,
            ),
        )

    def unpublish(self, pod: str = "pod-1") -> None:
        asked = csi.NodeUnpublishVolumeRequest(volume_id=self.volume, target_path=str(self.target(pod)))
        self.call("NodeUnpublishVolume", asked)

    def expand(self, required: int = 0, path: Path | None = None) -> int:
        asked = csi.NodeExpandVolumeRequest(
            volume_id=self.volume, volume_path=str(path or self.target()), staging_target_path=str(self.staging)
        )
        asked.capacity_range.required_bytes = required
        size: int = self.call("NodeExpandVolume", asked).capacity_bytes
        return size

    def stats(self, path: Path | None = None) -> Any:
        asked = csi.NodeGetVolumeStatsRequest(volume_id=self.volume, volume_path=str(path or self.target()))
        return self.call("NodeGetVolumeStats", asked)


def node_service(files, by_id, zone="nova", limit=25):
    """The node service of the server "server-1", which does not wait for devices."""
    return Node(files, CinderAttacher(by_id, timeout=0), "server-1", zone, CINDER_ZONE, limit)
