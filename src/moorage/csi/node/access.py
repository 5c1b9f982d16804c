"""How a volume is to be used on this node: what a VolumeCapability of CSI says, in our words."""

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
    """The volume is there already, and in another way than is asked for; CSI's ALREADY_EXISTS."""


@dataclass(frozen=True)
class Access:
    """`block`: the device as it is; otherwise a file system, `kind` "" for whichever there is.

    `alone`: by one pod at a time. `options` are mount(8)'s, without `ro`.
    """

    block: bool = False
    kind: str = ""
    read_only: bool = False
    alone: bool = False
    options: tuple[str, ...] = ()


def access(capability: Any) -> Access:
    """Read a VolumeCapability; BadInput for what is not whole, or cannot be done safely."""
    mode = capability.access_mode.mode
    if mode == MODE.UNKNOWN:
        raise BadInput("the volume capability has no access mode")
    how = {"read_only": mode in READING, "alone": mode == MODE.SINGLE_NODE_SINGLE_WRITER}
    if capability.HasField("block"):
        return Access(block=True, **how)
    if not capability.HasField("mount"):
        raise BadInput("the volume capability says neither block nor mount")
    if mode in SEVERAL_NODES:
        raise BadInput(
            "a file system cannot be written while several nodes have it",
            "use ReadWriteOnce, ReadOnlyMany, or a volume of mode Block",
        )
    return _mount(capability.mount, **how)


def _mount(asked: Any, *, read_only: bool, alone: bool) -> Access:
    if asked.fs_type and asked.fs_type not in KINDS:
        raise BadInput(f"there is no file system {asked.fs_type!r} here; known are {', '.join(KINDS)}")
    if asked.volume_mount_group:
        raise BadInput("files are given to a group by kubelet here, not by a mount option", "set fsGroupPolicy: File")
    words = [word for flag in asked.mount_flags for word in flag.split(",") if word]
    options = tuple(word for word in words if word != "ro")
    return Access(kind=asked.fs_type, read_only=read_only or "ro" in words, alone=alone, options=options)
