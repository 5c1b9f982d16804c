"""Lines of /proc/self/mountinfo, as Linux writes them."""

import os
from pathlib import Path

import pytest

from moorage.host.mountinfo import Line, parse, topmost

pytestmark = pytest.mark.unit

TEXT = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
65 44 7:0 / /mnt/a\040folder rw,nosuid,relatime shared:7 master:1 - xfs /dev/loop0 rw,nouuid
66 44 7:1 / /mnt/a\040folder ro,relatime - ext4 /dev/loop1 rw,emergency_ro
67 44 0:5 /vdb /mnt/device rw - devtmpfs udev rw,size=1k
""".strip().splitlines()


def test_parse_line():
    assert parse(TEXT)[1] == Line(
        "/mnt/a folder",
        os.makedev(7, 0),
        "xfs",
        frozenset({"rw", "nosuid", "relatime"}),
        frozenset({"rw", "nouuid"}),
    )


def test_topmost_is_last_mount():
    mount = topmost(parse(TEXT), Path("/mnt/a folder"))
    assert mount
    assert mount.device == os.makedev(7, 1)
    assert topmost(parse(TEXT), Path("/mnt")) is None


def test_topmost_resolves_links_in_folders(tmp_path):
    (tmp_path / "link").symlink_to("/mnt")
    assert topmost(parse(TEXT), tmp_path / "link" / "device")
