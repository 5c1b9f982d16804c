"""Volume types, which a class names or gives by id."""

from __future__ import annotations

from moorage.cloud.port.volumes import Volumes
from moorage.model.errors import BadInput


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
