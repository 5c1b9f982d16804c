"""Convert Nova's objects: an instance to a machine, a VIF to a network interface, a connection to a volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from moorage.local.machine.spec import Machine, Nic, Volume

VERSION_PROPERTY = "moorage_version"
DEFAULT_MTU = 1442
VOLUME_TYPE = "moorage_file"


class Unsupported(Exception):
    """Nova requested something that a machine container does not support; the message says what is supported."""


def machine(instance: Any, image: Mapping[str, Any], vifs: Iterable[Any], state: Path, cgroup_parent: str) -> Machine:
    """The machine for an instance. `image` is Glance's record of its image."""
    flavor = instance.flavor
    return Machine(
        id=instance.uuid,
        hostname=instance.hostname,
        folder=str(state / instance.uuid),
        version=image_version(image),
        cpus=flavor.vcpus,
        memory=flavor.memory_mb,
        disk=max(flavor.root_gb, 1),
        cgroup_parent=cgroup_parent,
        nics=tuple(nic(vif, number) for number, vif in enumerate(vifs)),
    )


def image_version(image: Mapping[str, Any]) -> str:
    """The name of the image's slot: its version, or its id when it is not a Moorage image."""
    properties = image.get("properties") or {}
    return str(properties.get(VERSION_PROPERTY) or image["id"])


def nic(vif: Any, number: int) -> Nic:
    """Translate a VIF of Nova's network model to the machine's interface `eth<number>`."""
    mtu = (vif["network"].get("meta") or {}).get("mtu") or DEFAULT_MTU
    return Nic(port=vif["id"], mac=vif["address"], mtu=int(mtu), name=f"eth{number}")


def volume(connection: Mapping[str, Any], mountpoint: str) -> Volume:
    """Cinder's connection information as a volume; Unsupported when it is not a file."""
    kind = connection["driver_volume_type"]
    if kind != VOLUME_TYPE:
        raise Unsupported(f"a volume of type {kind} cannot be attached here: only {VOLUME_TYPE} can")
    data = connection["data"]
    serial = connection.get("serial") or data.get("volume_id")
    return Volume(id=str(serial), path=str(data["path"]), device=mountpoint.removeprefix("/dev/"))
