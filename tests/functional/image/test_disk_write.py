"""The disk image on a disk of this machine, as `moorage image write` writes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moorage.config import Paths
from moorage.image.disk.build import SIZE, DiskImage, build_disk
from moorage.image.disk.kernel import Hardware
from moorage.image.disk.write import inspect, write
from moorage.image.node_image import find_image
from moorage.model.errors import BadInput, Conflict
from vm import run

pytestmark = [pytest.mark.functional, pytest.mark.timeout(1800)]

MIB, GIB = 2**20, 2**30


@pytest.fixture(scope="module")
def image() -> DiskImage:
    cache = Paths.from_environment(os.environ).cache
    return build_disk(cache, find_image(cache), Hardware.SERVER, print)


@pytest.fixture
def disk(tmp_path: Path):
    """A disk with another use: a file system over all of it."""
    file = tmp_path / "disk"
    with file.open("wb") as opened:
        opened.truncate(9 * GIB)
    device = run("losetup", "--find", "--show", "--partscan", str(file)).strip()
    run("mkfs.ext4", "-q", "-L", "photos", device)
    yield Path(device)
    run("losetup", "--detach", device)


def test_disk_has_the_images_bytes_and_its_partitions(tmp_path, disk, image):
    target, reported = inspect(disk, image), []
    assert str(target).startswith(f"{disk}: 9 GB")
    write(target, image, reported.append)
    assert any("100 %" in text for text in reported)
    run("qemu-img", "convert", "-O", "raw", str(image.file), str(tmp_path / "raw"))
    run("cmp", "--bytes", str(SIZE * MIB), str(tmp_path / "raw"), str(disk))
    assert 'LABEL="photos"' not in run("blkid", "--probe", "--output", "export", str(disk))

    again = inspect(disk, image)
    write(again, image, reported.append)
    run("cmp", "--bytes", str(SIZE * MIB), str(tmp_path / "raw"), str(disk))


def test_mounted_disk_is_left_alone(tmp_path, disk, image):
    folder = tmp_path / "mounted"
    folder.mkdir()
    target = inspect(disk, image)
    run("mount", str(disk), str(folder))
    try:
        (folder / "photo").write_text("kept")
        for use in (lambda: inspect(disk, image), lambda: write(target, image, print)):
            with pytest.raises(Conflict, match="in use on this machine"):
                use()
        assert (folder / "photo").read_text() == "kept"
    finally:
        run("umount", str(folder))
    assert "photos" in run("blkid", "--probe", "--output", "export", str(disk))


def test_what_is_no_large_disk_is_refused(tmp_path, image):
    small = tmp_path / "small"
    with small.open("wb") as opened:
        opened.truncate(2 * GIB)
    device = run("losetup", "--find", "--show", str(small)).strip()
    try:
        with pytest.raises(BadInput, match=r"2 GB is too small"):
            inspect(Path(device), image)
    finally:
        run("losetup", "--detach", device)
    for path, reason in ((small, "not a block device"), (tmp_path / "missing", "No such file")):
        with pytest.raises(BadInput, match=reason):
            inspect(path, image)
