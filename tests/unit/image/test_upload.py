from dataclasses import dataclass, field, replace

import pytest

from moorage.image.disk.build import DiskImage
from moorage.image.disk.kernel import Hardware
from moorage.image.node_image import NodeImage
from moorage.image.upload import upload

pytestmark = pytest.mark.unit


@dataclass
class Stored:
    name: str
    status: str
    properties: dict
    id: str = "image"


@dataclass
class Glance:
    stored: list = field(default_factory=list)
    uploads: int = 0
    formats: list = field(default_factory=list)

    def list(self, properties):
        return [image for image in self.stored if properties.items() <= image.properties.items()]

    def set_properties(self, id, properties):
        [stored] = [image for image in self.stored if image.id == id]
        stored.properties.update(properties)

    def upload(self, image, sent):
        self.uploads += 1
        size = image.file.stat().st_size
        for count in (size // 3, size // 2, size, size):
            sent(count)
        self.formats.append(image.disk_format)
        self.stored.append(Stored(image.name, "active", dict(image.properties)))


@pytest.fixture
def image(tmp_path):
    (tmp_path / "node.squashfs").write_bytes(b"hsqs")
    return NodeImage(tmp_path, "12-1.37.2-abc", "v1.37.2", "f" * 64)


def test_upload_again_does_nothing(image):
    glance = Glance()
    assert upload(glance, image.to_upload, print) == "moorage-12-1.37.2-abc"
    assert upload(glance, image.to_upload, print) == "moorage-12-1.37.2-abc"
    assert glance.uploads == 1
    assert glance.stored[0].properties["os_distro"] == "moorage"


def test_signature_is_added_to_an_image_that_the_cloud_has(image):
    glance = Glance()
    upload(glance, image.to_upload, print)
    signed = {"moorage_statement": "{}", "moorage_signature": "first"}
    for signature in ("first", "second"):
        own = signed | {"moorage_signature": signature}
        upload(glance, replace(image.to_upload, properties={**image.properties, **own}), print)
        assert own.items() <= glance.stored[0].properties.items()
    assert glance.uploads == 1


def test_upload_reports_tenths(image):
    image.squashfs.write_bytes(bytes(3 * 2**20))
    reported = []
    upload(Glance(), image.to_upload, reported.append)
    assert reported == [
        "uploading moorage-12-1.37.2-abc (3 MiB)",
        "uploading moorage-12-1.37.2-abc: 30 % of 3 MiB",
        "uploading moorage-12-1.37.2-abc: 50 % of 3 MiB",
        *["uploading moorage-12-1.37.2-abc: 100 % of 3 MiB"] * 2,
    ]


def test_interrupted_upload_is_repeated(image):
    glance = Glance([Stored(image.name, "queued", dict(image.properties))])
    upload(glance, image.to_upload, print)
    assert glance.uploads == 1


def test_other_build_of_same_version_is_uploaded(image):
    glance = Glance([Stored(image.name, "active", {**image.properties, "moorage_sha256": "0" * 64})])
    upload(glance, image.to_upload, print)
    assert glance.uploads == 1


def test_disk_is_another_image_than_the_squashfs_in_it(image, tmp_path):
    glance = Glance()
    disk = DiskImage(image, Hardware.SERVER, tmp_path / "node.squashfs")
    assert [upload(glance, each.to_upload, print) for each in (image, disk, disk)] == [
        "moorage-12-1.37.2-abc",
        "moorage-12-1.37.2-abc-server",
        "moorage-12-1.37.2-abc-server",
    ]
    assert glance.formats == ["raw", "qcow2"]
