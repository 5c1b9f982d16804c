"""The disk image boots servers with BIOS and with UEFI; a slot that does not come up is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moorage.config import Paths
from moorage.image.disk.build import SIZE, build_disk
from moorage.image.disk.kernel import Hardware
from moorage.image.node_image import NodeImage, find_image
from moorage.model.boot import RECORD, BootRecord, Slot
from moorage.model.boot import SIZE as SIZE_OF_RECORD
from vm import Partition, Vm, run

pytestmark = [pytest.mark.functional, pytest.mark.timeout(5400)]

USER_DATA = FAILURE = "not for a node"
"""The node's program rejects it, and says so on the console."""


@pytest.fixture(scope="module")
def cache() -> Path:
    return Paths.from_environment(os.environ).cache


@pytest.fixture(scope="module")
def image(cache: Path) -> NodeImage:
    return find_image(cache)


@pytest.fixture(scope="module")
def disk(cache: Path, image: NodeImage) -> Path:
    return build_disk(cache, image, Hardware.SERVER, print).file


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
def test_disk_boots_from_nothing_but_a_config_drive(tmp_path: Path, disk: Path, image: NodeImage, uefi: bool) -> None:
    vm = Vm(tmp_path, disk, uefi=uefi)
    vm.config_drive(USER_DATA)
    with vm:
        vm.wait_for(FAILURE)
    boot = Partition(tmp_path, vm.disk, 3)
    assert BootRecord.parse(boot.read(f"/{RECORD}")).slots == (Slot("a", image.version, 2),)
    state = Partition(tmp_path, vm.disk, 4)
    assert state.start + state.size > state.end_of_disk - 8 * 2**20, "/var does not extend to the disk's end"
    assert state.statistics["Block count"] == str(state.size // 4096)
    assert boot.statistics["Filesystem UUID"] != Partition(tmp_path, disk, 3).statistics["Filesystem UUID"]


def test_var_grows_with_the_disk(tmp_path: Path, disk: Path) -> None:
    vm = Vm(tmp_path, disk)
    vm.config_drive(USER_DATA)
    for size in ("4G", "5G"):
        run("qemu-img", "resize", "-q", str(vm.disk), size)
        vm.log.unlink(missing_ok=True)
        with vm:
            vm.wait_for(FAILURE)
    state = Partition(tmp_path, vm.disk, 4)
    assert state.size > 3.8 * 2**30
    assert state.statistics["Block count"] == str(state.size // 4096)


def test_slot_that_does_not_come_up_is_passed_over(tmp_path: Path, disk: Path, image: NodeImage) -> None:
    """Its kernel starts, and its root is not one."""
    boot = Partition(tmp_path, disk, 3)
    boot.debugfs("mkdir /slots/b")
    for name in ("linux", "initrd", "modules.squashfs"):
        boot.write(f"/slots/b/{name}", boot.read(f"/slots/a/{name}"))
    boot.write("/slots/b/root.squashfs", b"hsqs" + bytes(8192))
    boot.write(f"/{RECORD}", BootRecord((Slot("b", "new", 1), Slot("a", image.version))).content())
    vm = Vm(tmp_path, boot.write_back(tmp_path / "two-slots.qcow2"))
    vm.config_drive(USER_DATA)
    with vm:
        vm.wait_for("booting slot b")
        vm.wait_for("the root of slot b is damaged")
        vm.wait_for("booting slot a")
        vm.wait_for(FAILURE)
    left = BootRecord.parse(Partition(tmp_path, vm.disk, 3).read(f"/{RECORD}"))
    assert left.slots == (Slot("b", "new", 0), Slot("a", image.version))


@pytest.mark.parametrize(
    "record",
    [b"x" * SIZE_OF_RECORD, BootRecord((Slot("b", "new", 3), Slot("a", "old"))).content()],
    ids=["record", "kernel"],
)
def test_other_slot_boots_at_once_when_record_or_kernel_is_damaged(tmp_path: Path, disk: Path, record: bytes) -> None:
    boot = Partition(tmp_path, disk, 3)
    boot.debugfs("mkdir /slots/b")
    boot.write("/slots/b/linux", b"MZ" + bytes(8192))
    boot.write(f"/{RECORD}", record)
    vm = Vm(tmp_path, boot.write_back(tmp_path / "damaged.qcow2"))
    vm.config_drive(USER_DATA)
    with vm:
        if record.startswith(b"#"):
            vm.wait_for("booting slot b")
        vm.wait_for("booting slot a")
        vm.wait_for(FAILURE)


def test_disk_is_small_and_the_same_each_time(disk: Path, image: NodeImage, cache: Path) -> None:
    assert disk.stat().st_size < SIZE * 2**20 / 3
    before = disk.read_bytes()
    disk.unlink()
    assert build_disk(cache, image, Hardware.SERVER, print).file.read_bytes() == before
