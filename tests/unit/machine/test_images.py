"""The image store: used images are kept, others are deleted."""

import os
from pathlib import Path

import pytest

from moorage.local.machine import images

pytestmark = pytest.mark.unit


def create_image(state: Path, name: str) -> Path:
    file = state / ".images" / f"{name}.squashfs"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"hsqs")
    return file


def test_linked_image_is_kept(tmp_path: Path) -> None:
    used, unused = create_image(tmp_path, "used"), create_image(tmp_path, "unused")
    os.link(used, tmp_path / "slot")
    images.drop_unused(tmp_path, age=-1)
    assert used.exists()
    assert not unused.exists()


def test_new_image_is_kept(tmp_path: Path) -> None:
    fresh = create_image(tmp_path, "fresh")
    images.drop_unused(tmp_path)
    assert fresh.exists()


def test_existing_image_is_not_downloaded(tmp_path: Path) -> None:
    file = create_image(tmp_path, "image")
    assert images.fetch(None, "image", tmp_path) == file
