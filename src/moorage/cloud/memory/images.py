"""Images in memory."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from moorage.cloud.port.images import Download, Image, ImageFile, newest
from moorage.model.errors import CloudUnreachable, NotFound

NODE_IMAGE = Image(
    name="moorage-12-1.37.2-0",
    id="image-1",
    status="active",
    created_at="2026-01-01T00:00:00Z",
    properties={"os_distro": "moorage", "moorage_version": "12-1.37.2-0", "moorage_kubernetes_version": "v1.37.2"},
    min_memory=1024,
    min_disk=4,
)


class MemoryImages:
    """The port `Images`. Fault: `unreachable` is why Glance does not answer."""

    def __init__(self, images: Iterable[Image] = (NODE_IMAGE,)) -> None:
        self.images = [*images]
        self.unreachable = ""

    def list(self, properties: Mapping[str, str]) -> builtins.list[Image]:
        self._check_reachable()
        return [image for image in self.images if properties.items() <= image.properties.items()]

    def find(self, name: str) -> Image | None:
        self._check_reachable()
        by_id = next((image for image in self.images if image.id == name), None)
        return newest(image for image in self.images if image.name == name) or by_id

    def set_properties(self, id: str, properties: Mapping[str, str]) -> None:
        self._check_reachable()
        if not any(image.id == id for image in self.images):
            raise NotFound(f"no image {id}")
        self.images = [
            replace(image, properties={**image.properties, **properties}) if image.id == id else image
            for image in self.images
        ]

    def download(self, id: str) -> Download:
        self._check_reachable()
        return Download(f"http://glance/v2/images/{id}/file", "token")

    def upload(self, image: ImageFile, sent: Callable[[int], None]) -> None:
        self._check_reachable()
        sent(image.file.stat().st_size)
        number = len(self.images) + 1
        created_at, properties = f"2026-01-03T00:00:{number:02}Z", dict(image.properties)
        self.images.append(
            Image(image.name, f"image-{number}", "active", created_at, properties, image.min_memory, image.min_disk)
        )

    def _check_reachable(self) -> None:
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])
