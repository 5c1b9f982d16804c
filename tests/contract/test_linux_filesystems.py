"""Tests that need a real Linux: foreign signatures, broken superblocks, and a kernel that stops writing."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import LoopDisks, own_mounts
from moorage.host.filesystems import KINDS
from moorage.host.linux_filesystems import LinuxFilesystems
from moorage.host.mountinfo import parse, topmost
from moorage.host.signatures import XFS_UNFINISHED
from moorage.model.errors import Conflict

pytestmark = pytest.mark.contract

SIZE = 320 * 2**20
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN in ext4.h and XFS_IOC_GOINGDOWN in xfs_fs.h
NO_LOG_FLUSH = 2
FILES = LinuxFilesystems()


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[LoopDisks]:
    if os.geteuid() != 0:
        pytest.fail("the real Linux needs root")
    with own_mounts():
        disks = LoopDisks(tmp_path)
        try:
            yield disks
        finally:
            disks.close()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


LUKS = b"LUKS\xba\xbe\x00\x01"
PARTITION = bytes([0x80, 0, 2, 0, 0x83, 0, 3, 0]) + struct.pack("<II", 2048, 4096)


@pytest.mark.parametrize(
    ("signature", "offset", "content"),
    [
        ("crypto_LUKS", 0, LUKS),
        ("dos", 446, PARTITION + bytes(48) + b"\x55\xaa"),
        ("data", 0, b"a database that uses the disk as it is"),
    ],
)
def test_format_with_foreign_data_is_rejected(disks: LoopDisks, signature: str, offset: int, content: bytes) -> None:
    device = disks.add(SIZE)
    disks.write(device, 0, (bytes(offset) + content).ljust(4096, b"\x00"))
    assert_format_rejected(disks, device, signature)


@pytest.mark.parametrize(("signature", "command"), [("swap", ["mkswap"]), ("ext3", ["mkfs.ext3", "-q"])])
def test_format_with_foreign_signature_is_rejected(disks: LoopDisks, signature: str, command: list[str]) -> None:
    device = disks.add(SIZE)
    run(*command, str(device))
    assert_format_rejected(disks, device, signature)


def assert_format_rejected(disks: LoopDisks, device: Path, signature: str) -> None:
    """Assert that no type of file system can be created on the device, and that no byte changes."""
    before = disks.read(device, 0, 2**20)
    assert FILES.signature(device) == signature
    for kind in KINDS:
        with pytest.raises(Conflict, match=f"has {signature} and is not formatted"):
            FILES.format(device, kind)
    assert disks.read(device, 0, 2**20) == before


def test_signature_of_overwritten_superblock_is_not_blank(disks: LoopDisks) -> None:
    device = disks.add(SIZE)
    FILES.format(device, "ext4")
    disks.write(device, 1024 + 0x38, b"\x00\x00")  # its magic number: no program recognises the file system
    assert FILES.signature(device) == "data"
    with pytest.raises(Conflict, match="has data"):
        FILES.format(device, "ext4")


def test_format_over_interrupted_xfs(disks: LoopDisks) -> None:
    device = disks.add(SIZE)
    FILES.format(device, "xfs")
    disks.write(device, XFS_UNFINISHED, b"\x01")
    assert FILES.signature(device) == ""
    FILES.format(device, "xfs")
    assert FILES.signature(device) == "xfs"
    assert disks.read(device, XFS_UNFINISHED, 1) == b"\x00"


@pytest.mark.parametrize("kind", KINDS)
def test_format_killed_anywhere_can_be_repeated(disks: LoopDisks, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    device = disks.add(SIZE)
    for thousandth in range(20):
        with subprocess.Popen([f"mkfs.{kind}", "-q", str(device)]) as mkfs:
            time.sleep(thousandth / 2000)
            mkfs.kill()
        if not FILES.signature(device):
            FILES.format(device, kind)
        FILES.repair(device, kind)
        FILES.mount(device, target, kind, ())
        FILES.unmount(target)
        disks.write(device, 0, bytes(2**20))


def test_make_read_only_keeps_other_options(disks: LoopDisks, tmp_path: Path) -> None:
    source, target = tmp_path / "a folder", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    device = disks.add(SIZE)
    FILES.format(device, "ext4")
    FILES.mount(device, source, "ext4", ("nosuid", "nodev", "noatime"))
    FILES.bind(source, target)
    FILES.make_read_only(target)
    line = topmost(parse(Path("/proc/thread-self/mountinfo").read_text().splitlines()), target)
    assert line is not None
    assert line.options == {"ro", "nosuid", "nodev", "noatime"}
    with pytest.raises(OSError, match="Read-only"):
        (target / "x").touch()
    (source / "x").touch()


@pytest.mark.parametrize("kind", KINDS)
def test_complaint_after_kernel_stopped_writing(disks: LoopDisks, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    device = disks.add(SIZE)
    FILES.format(device, kind)
    FILES.mount(device, target, kind, ())
    descriptor = os.open(target, os.O_RDONLY)
    fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(descriptor)
    assert f"this {kind} cannot be read" in FILES.problem(target) or "stopped writing" in FILES.problem(target)
    FILES.unmount(target)
    FILES.repair(device, kind)
    FILES.mount(device, target, kind, ())
    assert FILES.problem(target) == ""


def test_complaint_for_recorded_ext4_error_until_repair(disks: LoopDisks, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    device = disks.add(SIZE)
    FILES.format(device, "ext4")
    FILES.mount(device, target, "ext4", ())
    run("mount", "-o", "remount,abort", str(target))
    with pytest.raises(OSError, match="Read-only"):
        (target / "x").touch()
    assert "stopped writing" in FILES.problem(target)
    FILES.unmount(target)
    FILES.mount(device, target, "ext4", ())
    assert "recorded 1 errors" in FILES.problem(target)
    FILES.unmount(target)
    FILES.repair(device, "ext4")
    FILES.mount(device, target, "ext4", ())
    assert FILES.problem(target) == ""
