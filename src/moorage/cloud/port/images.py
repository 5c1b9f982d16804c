"""The port for images: Glance."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class ImageFile:
    """A file to upload, in one of Glance's disk formats. `min_memory` in MB, `min_disk` in GB."""

    name: str
    file: Path
    min_disk: int
    min_memory: int
    properties: Mapping[str, str]
    disk_format: str = "raw"


@dataclass(frozen=True)
class Download:
    """The URL of an image's file, and the token of Keystone that a request for it must have."""

    url: str
    token: str = field(repr=False)


def newest(images: Iterable[Image]) -> Image | None:
    """The newest active image, or the newest one when none is active."""
    return max(images, key=lambda image: (image.status == "active", image.created_at), default=None)


class Images(Protocol):
    """The images that one project can use. Every call may raise CloudUnreachable."""

    def list(self, properties: Mapping[str, str]) -> builtins.list[Image]:
        """The images that have all these properties."""
        ...

    def find(self, name: str) -> Image | None:
        """The image of that name, or id; the newest that is active when several have the name."""
        ...

    def set_properties(self, id: str, properties: Mapping[str, str]) -> None:
        """Add or replace some of an image's properties; NotFound, Conflict without the right to."""
        ...

    def download(self, id: str) -> Download:
        """Where the file of an image is, for another machine: with a token that expires within hours."""
        ...

    def upload(self, image: ImageFile, sent: Callable[[int], None]) -> None:
        """Create an image; an interrupted upload leaves nothing. `sent` gets the number of bytes so far."""
        ...
