"""The kernel reads a SCSI disk's size again through /sys; other disks have no such file."""

import os
from pathlib import Path

import pytest

from moorage.host import linux_filesystems
from moorage.host.linux_filesystems import LinuxFilesystems

pytestmark = pytest.mark.unit

DISK = Path("/dev/sdb")


class OneDisk(LinuxFilesystems):
    def number(self, device):
        assert device == DISK
        return os.makedev(8, 16)


def test_rescan_scsi_disks_only(tmp_path, monkeypatch):
    monkeypatch.setattr(linux_filesystems, "BLOCKS", tmp_path)
    file = tmp_path / "8:16" / "device" / "rescan"
    file.parent.mkdir(parents=True)
    OneDisk().rescan(DISK)
    assert not file.exists()
    file.touch()
    OneDisk().rescan(DISK)
    assert file.read_text() == "1"
