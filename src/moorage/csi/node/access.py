"""How a node uses a volume: a VolumeCapability of CSI as our dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moorage.csi.spec import csi_pb2 as csi
from moorage.host.filesystems import KINDS
from moorage.model.errors import BadInput, Conflict

MODE = csi.VolumeCapability.AccessMode
READING = (MODE.SINGLE_NODE_READER_ONLY, MODE.MULTI_NODE_READER_ONLY)
SEVERAL_NODES = (MODE.MULTI_NODE_SINGLE_WRITER, MODE.MULTI_NODE_MULTI_WRITER)


class Incompatible(Conflict):
    """The volume is mounted already in a way that does not match the request; CSI's ALREADY_EXISTS."""


@dataclass(frozen=True)
class Access:
    """`block`: the raw device; otherwise a file system, `kind` "" for any existing one.

    `alone`: for one pod at a time. `options` are mount(8)'s, without `ro`.
    """

    block: bool = False
    kind: str = ""
    read_only: bool = False
    alone: bool = False
    options: tuple[str, ...] = ()


def access(capability: Any) -> Access:
    """Parse a VolumeCapability; BadInput when it is incomplete or cannot be provided safely."""
    mode = capability.access_mode.mode
    if mode == MODE.UNKNOWN:
        raise BadInput("the volume capability has no access mode")
    how = {"read_only": mode in READING, "alone": mode == MODE.SINGLE_NODE_SINGLE_WRITER}
    if capability.HasField("block"):
        return Access(block=True, **how)
    if not capability.HasField("mount"):
        raise BadInput("the volume capability has neither block nor mount")
    if mode in SEVERAL_NODES:
        raise BadInput(
            "a file system on several nodes cannot be writable",
            "use ReadWriteOnce, ReadOnlyMany, or a volume of mode Block",
        )
    return _mount(capability.mount, **how)


def _mount(asked: Any, *, read_only: bool, alone: bool) -> Access:
    if asked.fs_type and asked.fs_type not in KINDS:
        raise BadInput(f"the file system {asked.fs_type!r} is not supported; supported: {', '.join(KINDS)}")
    if asked.volume_mount_group:
        raise BadInput("the kubelet sets the group of files here, not a mount option", "set fsGroupPolicy: File")
    words = [word for flag in asked.mount_flags for word in flag.split(",") if word]
    options = tuple(word for word in words if word != "ro")
    return Access(kind=asked.fs_type, read_only=read_only or "ro" in words, alone=alone, options=options)
