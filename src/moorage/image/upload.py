"""Upload a node image to a cloud's Glance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from moorage.image.node_image import NodeImage


class ExistingImage(Protocol):
    """An image in the cloud."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def properties(self) -> Mapping[str, str]: ...


class ImageService(Protocol):
    """What the upload needs of Glance; `moorage.cloud.port.images.Images` has it."""

    def list(self, properties: Mapping[str, str]) -> Iterable[ExistingImage]: ...

    def upload(self, name: str, file: Path, *, min_disk: int, min_memory: int, properties: Mapping[str, str]) -> None:
        """Create an image from the file; CloudUnreachable."""
        ...


def upload(images: ImageService, image: NodeImage, report: Callable[[str], None]) -> str:
    """Upload unless the cloud has this image (same version, same bytes); returns its name in Glance."""
    for known in images.list({"moorage_sha256": image.properties["moorage_sha256"]}):
        if known.status == "active":
            report(f"the cloud has {known.name} already")
            return known.name
    report(f"uploading {image.name} ({image.squashfs.stat().st_size / 2**20:.0f} MiB)")
    images.upload(
        image.name,
        image.squashfs,
        min_disk=image.min_disk,
        min_memory=image.min_memory,
        properties=image.properties,
    )
    return image.name
