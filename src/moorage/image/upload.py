"""Upload a node image to a cloud's Glance."""

from __future__ import annotations

from collections.abc import Callable

from moorage.cloud.port.images import ImageFile, Images
from moorage.model.image_statement import SIGNATURE, STATEMENT

SAME = ("moorage_sha256", "moorage_format", "moorage_disk")
"""The properties by which an image in the cloud is known to have the same bytes."""


def upload(images: Images, image: ImageFile, report: Callable[[str], None]) -> str:
    """Upload unless the cloud has this image (same version, same bytes); returns its name in Glance.

    An image that was signed since gets its signature.
    """
    signed = {name: image.properties[name] for name in (STATEMENT, SIGNATURE) if name in image.properties}
    for known in images.list({name: image.properties[name] for name in SAME if name in image.properties}):
        if known.status == "active":
            report(f"the cloud has {known.name} already")
            if not signed.items() <= known.properties.items():
                report(f"adding the signature to {known.name}")
                images.set_properties(known.id, signed)
            return known.name
    images.upload(image, _tenths(image, report))
    return image.name


def _tenths(image: ImageFile, report: Callable[[str], None]) -> Callable[[int], None]:
    """Report each tenth of the file. The report of the running step changes nothing, so it may be repeated."""
    size = image.file.stat().st_size
    report(f"uploading {image.name} ({size / 2**20:.0f} MiB)")

    def sent(count: int) -> None:
        if tenths := min(count * 10 // max(size, 1), 10):
            report(f"uploading {image.name}: {tenths}0 % of {size / 2**20:.0f} MiB")

    return sent
