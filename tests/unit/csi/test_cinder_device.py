"""A volume's device is found by its serial, and never another's."""

import pytest

from moorage.csi.cinder.device import find, names
from moorage.model.errors import TimedOut

pytestmark = pytest.mark.unit

VOLUME = "0f0e0d0c-1111-2222-3333-444455556666"


@pytest.mark.parametrize("name", names(VOLUME))
def test_each_name_leads_to_the_device(tmp_path, name):
    device = tmp_path / "vdb"
    device.touch()
    (tmp_path / name).symlink_to(device)
    assert find(VOLUME, tmp_path) == device


def test_the_serial_of_virtio_has_twenty_characters():
    assert names(VOLUME)[0] == "virtio-0f0e0d0c-1111-2222-3"


def test_a_device_that_never_appears_is_told_and_no_other_taken(tmp_path):
    (tmp_path / "virtio-ffffffff-1111-2222-3").touch()
    with pytest.raises(TimedOut, match=r"virtio-0f0e0d0c-1111-2222-3 has not appeared"):
        find(VOLUME, tmp_path)


def test_a_link_that_a_removed_disk_left_is_no_device(tmp_path):
    (tmp_path / names(VOLUME)[0]).symlink_to(tmp_path / "gone")
    with pytest.raises(TimedOut):
        find(VOLUME, tmp_path)
