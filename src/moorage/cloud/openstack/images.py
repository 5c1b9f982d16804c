"""The port `Images` on a real Glance."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.images import Download, Image, ImageFile, newest
from moorage.model.errors import NotFound

GLANCE = "image"
JSON_PATCH = "application/openstack-images-v2.1-json-patch"
PAGE = 1000  # Glance returns 25 images unless asked for more, and never more than its own limit


class OpenStackImages:
    """The port `Images` on Glance."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def list(self, properties: Mapping[str, str]) -> builtins.list[Image]:
        return [_image(row) for row in self.rest.list(GLANCE, "/images", limit=PAGE, **properties)]

    def find(self, name: str) -> Image | None:
        named = [image for image in self.list({"name": name}) if image.name == name]
        return newest(named) or self._get(name)

    def _get(self, id: str) -> Image | None:
        try:
            return _image(self.rest.get(GLANCE, f"/images/{quote(id, safe='')}"))
        except NotFound:
            return None

    def set_properties(self, id: str, properties: Mapping[str, str]) -> None:
        changes = [{"op": "add", "path": f"/{name}", "value": text} for name, text in properties.items()]
        self.rest.patch(GLANCE, f"/images/{quote(id, safe='')}", changes, content_type=JSON_PATCH)

    def download(self, id: str) -> Download:
        return Download(f"{self.rest.endpoint(GLANCE)}/images/{quote(id, safe='')}/file", self.rest.token())

    def upload(self, image: ImageFile, sent: Callable[[int], None]) -> None:
        request = {
            "name": image.name,
            "disk_format": image.disk_format,
            "container_format": "bare",
            "min_disk": image.min_disk,
            "min_ram": image.min_memory,
            **image.properties,
        }
        created = self.rest.post(GLANCE, "/images", request)
        try:
            self.rest.put_file(GLANCE, f"/images/{created['id']}/file", image.file, sent)
        except BaseException:
            self.rest.delete(GLANCE, f"/images/{created['id']}")
            raise


def _image(row: Mapping[str, Any]) -> Image:
    properties = {key: value for key, value in row.items() if isinstance(value, str)}
    return Image(
        name=row["name"] or "",
        id=row["id"],
        status=row["status"],
        created_at=row["created_at"],
        properties=properties,
        min_memory=row["min_ram"],
        min_disk=row["min_disk"],
    )
