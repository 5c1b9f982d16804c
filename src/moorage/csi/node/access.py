"""How a node uses a volume: a VolumeCapability of CSI as our dataclass."""

from __future__ import annotations

from dataclasses import dataclass

from moorage.csi.spec import csi_pb2 as csi
from moorage.host.filesystems import KINDS
from moorage.model.errors import BadInput, Conflict

MODE = csi.VolumeCapability.AccessMode
READ_ONLY_MODES = (MODE.SINGLE_NODE_READER_ONLY, MODE.MULTI_NODE_READER_ONLY)
MULTI_NODE_WRITERS = (MODE.MULTI_NODE_SINGLE_WRITER, MODE.MULTI_NODE_MULTI_WRITER)


class Incompatible(Conflict):
    """The volume is mounted already in a way that does not match the request; CSI's ALREADY_EXISTS."""


@dataclass(frozen=True)
class Access:
    """`block`: the raw device; otherwise a file system, `kind` "" for any existing one.

    `single_pod`: for one pod at a time. `options` are mount(8)'s, without `ro`.
    """

    block: bool = False
    kind: str = ""
    read_only: bool = False
    single_pod: bool = False
    options: tuple[str, ...] = ()


def parse_access(capability: csi.VolumeCapability) -> Access:
    """Parse a VolumeCapability; BadInput when it is incomplete or cannot be provided safely."""
    mode = capability.access_mode.mode
    if mode == MODE.UNKNOWN:
        raise BadInput("the volume capability has no access mode")
    read_only, single_pod = mode in READ_ONLY_MODES, mode == MODE.SINGLE_NODE_SINGLE_WRITER
    if capability.HasField("block"):
        return Access(block=True, read_only=read_only, single_pod=single_pod)
    if not capability.HasField("mount"):
        raise BadInput("the volume capability has no access type: block or mount")
    if mode in MULTI_NODE_WRITERS:
        raise BadInput(
            "a file system on several nodes cannot be writable",
            "use ReadWriteOnce, ReadOnlyMany, or a volume of mode Block",
        )
    return _parse_mount(capability.mount, read_only=read_only, single_pod=single_pod)


def _parse_mount(mount: csi.VolumeCapability.MountVolume, *, read_only: bool, single_pod: bool) -> Access:
    if mount.fs_type and mount.fs_type not in KINDS:
        raise BadInput(f"the file system {mount.fs_type!r} is not supported; supported: {', '.join(KINDS)}")
    if mount.volume_mount_group:
        raise BadInput("the kubelet sets the group of files here, not a mount option", "set fsGroupPolicy: File")
    flags = [flag for flags in mount.mount_flags for flag in flags.split(",") if flag]
    options = tuple(flag for flag in flags if flag != "ro")
    return Access(kind=mount.fs_type, read_only=read_only or "ro" in flags, single_pod=single_pod, options=options)
