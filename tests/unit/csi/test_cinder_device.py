"""A volume's device is found by its serial."""

import pytest

from moorage.csi.cinder.device import device_names, find_device
from moorage.model.errors import TimedOut

pytestmark = pytest.mark.unit

VOLUME = "0f0e0d0c-1111-2222-3333-444455556666"


@pytest.mark.parametrize("name", device_names(VOLUME))
def test_find_by_each_name(tmp_path, name):
    device = tmp_path / "vdb"
    device.touch()
    (tmp_path / name).symlink_to(device)
    assert find_device(VOLUME, tmp_path) == device


def test_names_virtio_serial_has_twenty_characters():
    assert device_names(VOLUME)[0] == "virtio-0f0e0d0c-1111-2222-3"


def test_find_missing_device_times_out(tmp_path):
    (tmp_path / "virtio-ffffffff-1111-2222-3").touch()
    with pytest.raises(TimedOut, match=r"virtio-0f0e0d0c-1111-2222-3 has not appeared"):
        find_device(VOLUME, tmp_path)


def test_find_dangling_link_times_out(tmp_path):
    (tmp_path / device_names(VOLUME)[0]).symlink_to(tmp_path / "missing")
    with pytest.raises(TimedOut):
        find_device(VOLUME, tmp_path)
