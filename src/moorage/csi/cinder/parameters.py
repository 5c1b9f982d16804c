"""The parameters of a StorageClass, a VolumeAttributesClass and a VolumeSnapshotClass.

The names are those of the Cinder CSI plugin of cloud-provider-openstack
(docs/cinder-csi-plugin/using-cinder-csi-plugin.md), so that a cluster's classes keep working.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.cloud.port.volumes import Volumes
from moorage.model.errors import BadInput

# The provisioner and the snapshotter add these (`--extra-create-metadata`).
SIDECARS = "csi.storage.k8s.io/"


@dataclass(frozen=True)
class VolumeParameters:
    """`type`: a Cinder volume type, "" the project's default; `availability`: a zone, "" by topology."""

    type: str = ""
    availability: str = ""


def parse_storage_class(given: Mapping[str, str]) -> VolumeParameters:
    """Parse a StorageClass; BadInput names the first unknown parameter."""
    return VolumeParameters(**_check_names("StorageClass", given, ("availability", "type")))


def parse_attributes_class(given: Mapping[str, str]) -> str:
    """The volume type of a VolumeAttributesClass, "" without a change; BadInput names the first unknown parameter."""
    return _check_names("VolumeAttributesClass", given, ("type",)).get("type", "")


def parse_snapshot_class(given: Mapping[str, str]) -> bool:
    """Parse a VolumeSnapshotClass: whether it allows snapshots of volumes in use (`force-create`).

    BadInput names the first unknown parameter.
    """
    fields = _check_names("VolumeSnapshotClass", given, ("force-create", "type"))
    if fields.get("type", "snapshot") != "snapshot":
        raise BadInput(f"type of a VolumeSnapshotClass is snapshot, not {fields['type']!r}: backups are not supported")
    force = fields.get("force-create", "false")
    if force not in ("true", "false"):
        raise BadInput(f"force-create of a VolumeSnapshotClass is true or false, not {force!r}")
    return force == "true"


def _check_names(kind: str, given: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    own = {name: value for name, value in given.items() if not name.startswith(SIDECARS)}
    for name in sorted(own):
        if name not in names:
            raise BadInput(
                f"a {kind} has no parameter {name!r} (value {own[name]!r}); known are {', '.join(names)}",
                "correct or remove it: a class cannot be changed in place, delete it and create it again",
            )
    return own


def resolve_type(volumes: Volumes, type: str) -> str:
    """The type's name; BadInput lists those that the project may use."""
    types = volumes.types()
    if type in types:
        return types[type]
    if type in types.values():
        return type
    raise BadInput(
        f"Cinder has no volume type {type!r} for this project; available: {', '.join(sorted(types.values()))}",
        "name one of these in the class",
    )
