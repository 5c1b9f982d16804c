"""The supported uses of a volume: by one node at a time, as a file system or as a block device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moorage.csi.spec import csi_pb2 as csi
from moorage.model.errors import BadInput

MODE = csi.VolumeCapability.AccessMode
ONE_NODE = frozenset(
    (
        MODE.SINGLE_NODE_WRITER,
        MODE.SINGLE_NODE_READER_ONLY,
        MODE.SINGLE_NODE_SINGLE_WRITER,
        MODE.SINGLE_NODE_MULTI_WRITER,
    )
)
FILE_SYSTEMS = ("ext4", "xfs")


def check_capabilities(capabilities: Iterable[Any]) -> None:
    """Raise BadInput, which names the unsupported use, or says that none was requested."""
    requested = list(capabilities)
    if not requested:
        raise BadInput("no volume capability was given")
    for capability in requested:
        _check_capability(capability)


def _check_capability(capability: Any) -> None:
    mode = capability.access_mode.mode
    if mode not in ONE_NODE:
        raise BadInput(
            f"a volume is used by one node at a time; access mode {MODE.Mode.Name(mode)} is not supported",
            "claim it with ReadWriteOnce or ReadWriteOncePod",
        )
    kind = capability.WhichOneof("access_type")
    if kind is None:
        raise BadInput("a volume is used as a file system or as a block device; neither was requested")
    fs_type = capability.mount.fs_type
    if kind == "mount" and fs_type and fs_type not in FILE_SYSTEMS:
        raise BadInput(f"file system {fs_type!r} is not supported; supported: {' and '.join(FILE_SYSTEMS)}")
