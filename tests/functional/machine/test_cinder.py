"""Volumes of the real Cinder on plain files: their life cycle, and that copies are independent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest

from waiting import until

pytestmark = [
    pytest.mark.functional,
    pytest.mark.cloud,
    pytest.mark.timeout(300),
    # The SDK warns about its own settings, which the tests do not change, and does not close the file that it uploads.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*/image:pytest.PytestUnraisableExceptionWarning"),
]

GIB = 2**30


@pytest.fixture(scope="module")
def user(cloud: Any) -> Any:
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(Path(cloud.environment["HOME"]) / ".config/openstack/clouds.yaml")
    return openstack.connect(cloud="moorage")


@pytest.fixture(scope="module")
def storage(user: Any) -> Any:
    return user.block_storage


@pytest.fixture(scope="module")
def files(cloud: Any) -> Path:
    folder: Path = cloud.state / "volumes"
    return folder


def wait_until_available(storage: Any, resource: Any) -> Any:
    return storage.wait_for_status(resource, "available", interval=0.3, wait=60)


def delete(storage: Any, resource: Any) -> None:
    if "snapshot" in type(resource).__name__.lower():
        storage.delete_snapshot(resource)
    else:
        storage.delete_volume(resource)
    storage.wait_for_delete(resource, interval=0.3, wait=60)


@pytest.fixture(scope="module")
def volume(storage: Any, files: Path) -> Iterator[Any]:
    resource = wait_until_available(storage, storage.create_volume(name="v", size=1))
    write(files, resource, b"first")
    yield resource
    delete(storage, resource)


def write(files: Path, volume: Any, data: bytes) -> None:
    with (files / f"volume-{volume.id}").open("r+b") as file:
        file.seek(4096)
        file.write(data)


def read(files: Path, volume: Any) -> bytes:
    with (files / f"volume-{volume.id}").open("rb") as file:
        file.seek(4096)
        return file.read(5)


def test_volume_file_is_sparse(files: Path, volume: Any) -> None:
    state = (files / f"volume-{volume.id}").stat()
    assert state.st_size == GIB
    assert state.st_blocks * 512 < 2**20
    assert state.st_mode & 0o777 == 0o600


def test_extend_volume_keeps_data(storage: Any, files: Path) -> None:
    resource = wait_until_available(storage, storage.create_volume(name="grows", size=1))
    write(files, resource, b"first")
    storage.extend_volume(resource, 2)
    until(lambda: storage.get_volume(resource.id).size == 2)
    wait_until_available(storage, resource)
    assert (files / f"volume-{resource.id}").stat().st_size == 2 * GIB
    assert read(files, resource) == b"first"
    delete(storage, resource)
    assert not (files / f"volume-{resource.id}").exists()


def test_snapshot_is_independent_of_volume(storage: Any, files: Path) -> None:
    source = wait_until_available(storage, storage.create_volume(name="source", size=1))
    write(files, source, b"first")
    snapshot = wait_until_available(storage, storage.create_snapshot(volume_id=source.id, name="s"))
    write(files, source, b"later")
    restored = wait_until_available(storage, storage.create_volume(snapshot_id=snapshot.id, size=2, name="restored"))
    assert read(files, restored) == b"first"
    assert read(files, source) == b"later"
    assert (files / f"volume-{restored.id}").stat().st_size == 2 * GIB
    for resource in (restored, snapshot, source):
        delete(storage, resource)
    assert not (files / f"snapshot-{snapshot.id}").exists()


def test_clone_is_independent_of_source(storage: Any, files: Path, volume: Any) -> None:
    clone = wait_until_available(storage, storage.create_volume(source_volume_id=volume.id, size=1, name="clone"))
    assert read(files, clone) == b"first"
    write(files, clone, b"other")
    assert read(files, volume) == b"first"
    delete(storage, clone)


def test_volume_from_image(user: Any, storage: Any, files: Path, tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(bytes(4096) + b"words" + bytes(2**20))
    kind = {"disk_format": "raw", "container_format": "bare", "validate_checksum": False}
    with source.open("rb") as data:  # given a name, the SDK opens the file and never closes it
        image = user.image.create_image("bytes", data=data, **kind)
    resource = wait_until_available(storage, storage.create_volume(image_id=image.id, size=1, name="from-image"))
    assert read(files, resource) == b"words"
    assert (files / f"volume-{resource.id}").stat().st_size == GIB
    delete(storage, resource)
    user.image.delete_image(image)


def test_volume_beyond_quota_is_rejected(storage: Any) -> None:
    with pytest.raises(openstack.exceptions.HttpException, match="quota"):
        storage.create_volume(name="too-large", size=100_000)
