"""The port for images: Glance."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Image:
    """`min_memory` in MB, `min_disk` in GB; `properties` are the image's own."""

    name: str
    id: str
    status: str
    created_at: str
    properties: Mapping[str, str]
    min_memory: int = 0
    min_disk: int = 0


class Images(Protocol):
    """The images that one project can use. Every call may raise CloudUnreachable."""

    def list(self) -> builtins.list[Image]: ...

    def upload(self, name: str, file: Path, *, min_disk: int, min_memory: int, properties: Mapping[str, str]) -> None:
        """Create an image from a raw file (GB, MB). An interrupted upload leaves no incomplete image."""
        ...
