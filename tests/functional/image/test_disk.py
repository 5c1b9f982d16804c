"""The disk image boots servers with BIOS and with UEFI; a slot that does not come up is passed over."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from moorage.config import Paths
from moorage.image.disk import initrd
from moorage.image.disk.build import SIZE, build_disk
from moorage.image.disk.kernel import Hardware, fetch_kernel
from moorage.image.node_image import NodeImage, find_image
from moorage.model.boot import RECORD, BootRecord, Slot
from moorage.model.boot import SIZE as SIZE_OF_RECORD
from moorage.node.disk_image import extract_slot
from vm import Partition, Vm, run

pytestmark = [pytest.mark.functional, pytest.mark.timeout(5400)]

FILES = ("linux", "initrd", "sums", "verity.cfg", "root.squashfs", "modules.squashfs")
STARTED = "moorage: starting systemd"
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


def test_server_is_shut_down_by_its_power_button_and_var_grows_with_the_disk(tmp_path: Path, disk: Path) -> None:
    vm = Vm(tmp_path, disk)
    vm.config_drive(USER_DATA)
    for size in ("4G", "5G"):
        run("qemu-img", "resize", "-q", str(vm.disk), size)
        vm.log.unlink(missing_ok=True)
        with vm:
            vm.wait_for(FAILURE)
            vm.shut_down()
    assert "checking root" not in vm.console, "the boot partition was not shut down"
    state = Partition(tmp_path, vm.disk, 4)
    assert state.size > 3.8 * 2**30
    assert state.statistics["Block count"] == str(state.size // 4096)


def two_slots(folder: Path, disk: Path, *slots: Slot) -> Partition:
    """The boot partition with a copy of slot a as slot b."""
    boot = Partition(folder, disk, 3)
    boot.debugfs("mkdir /slots/b")
    for name in FILES:
        boot.write(f"/slots/b/{name}", boot.read(f"/slots/a/{name}"))
    boot.write(f"/{RECORD}", BootRecord(slots).content())
    return boot


def test_slot_that_does_not_come_up_is_passed_over(tmp_path: Path, disk: Path, image: NodeImage) -> None:
    """Its kernel starts, and its root is not one."""
    boot = two_slots(tmp_path, disk, Slot("b", "new", 3), Slot("a", image.version))
    boot.write("/slots/b/root.squashfs", b"hsqs" + bytes(8192))
    vm = Vm(tmp_path, boot.write_back(tmp_path / "two-slots.qcow2"))
    vm.config_drive(USER_DATA)
    with vm:
        for text in ("booting slot b", "slot b is damaged: root.squashfs", "booting slot a", FAILURE):
            vm.wait_for(text)
    assert slots_of(vm) == (Slot("b", "new", 0), Slot("a", image.version))


HANG = """say $(dmesg | grep -o "soft_margin=[0-9]*")
modprobe -r softdog
modprobe softdog soft_margin=20
exec 9> /dev/watchdog
say hanging
sleep 100000
"""
"""In place of what the script does once it has loaded its drivers: the watchdog has 20 s, not 300."""


def test_slot_that_hangs_in_its_initrd_is_restarted_and_passed_over(
    tmp_path: Path, disk: Path, image: NodeImage
) -> None:
    record = BootRecord((Slot("b", "new", 1), Slot("a", image.version)))
    boot = two_slots(tmp_path, disk, *record.slots)
    unpacked, packed, changed = tmp_path / "initrd", tmp_path / "packed", tmp_path / "changed"
    unpacked.mkdir()
    packed.write_bytes(boot.read("/slots/b/initrd"))
    run("sh", "-c", f"cd {unpacked} && zcat {packed} | busybox cpio -id --quiet")
    script = (unpacked / "init").read_text()
    before, loaded, _ = script.partition("modprobe -a $(cat /etc/modules) 2> /dev/null\n")
    (unpacked / "init").write_text(before + loaded + HANG)
    run("sh", "-c", f"cd {unpacked} && find . | busybox cpio -o -H newc --quiet | gzip > {changed}")
    boot.write("/slots/b/initrd", changed.read_bytes())
    sums = [line.split() for line in boot.read("/slots/b/sums").decode().splitlines()]
    new = sha256(changed.read_bytes()).hexdigest()
    lines = (f"{new if name == 'initrd' else old}  {name}\n" for old, name in sums)
    boot.write("/slots/b/sums", "".join(lines).encode())
    vm = Vm(tmp_path, boot.write_back(tmp_path / "two-slots.qcow2"))
    vm.config_drive(USER_DATA)
    with vm:
        for text in ("booting slot b", "soft_margin=300", "hanging", "booting slot a", FAILURE):
            vm.wait_for(text)
    assert slots_of(vm) == (Slot("b", "new", 0), Slot("a", image.version))


def slots_of(vm: Vm) -> tuple[Slot, ...]:
    return BootRecord.parse(Partition(vm.folder, vm.disk, 3).read(f"/{RECORD}")).slots


def test_changed_byte_is_refused_and_other_slot_boots(tmp_path: Path, disk: Path, image: NodeImage) -> None:
    """Slot b was healthy before. The kernel panics when it reads the block; the next boot reads all of them."""
    boot = two_slots(tmp_path, disk, Slot("b", image.version), Slot("a", image.version))
    root = bytearray(boot.read("/slots/b/root.squashfs"))
    root[100] ^= 1
    boot.write("/slots/b/root.squashfs", bytes(root))
    vm = Vm(tmp_path, boot.write_back(tmp_path / "changed.qcow2"))
    vm.config_drive(USER_DATA)
    with vm:
        vm.wait_for("dm-verity device corrupted")
        for text in ("checking root of slot b", "slot b is damaged: root.squashfs", "booting slot a", FAILURE):
            vm.wait_for(text)
    assert slots_of(vm) == (Slot("b", image.version, 0), Slot("a", image.version))


@pytest.mark.parametrize("name", ["linux", "initrd", "record"])
def test_other_slot_boots_at_once_when_grub_finds_damage(
    tmp_path: Path, disk: Path, image: NodeImage, name: str
) -> None:
    boot = two_slots(tmp_path, disk, Slot("b", "new", 3), Slot("a", "old"))
    if name == "record":
        boot.write(f"/{RECORD}", b"x" * SIZE_OF_RECORD)
    else:
        content = bytearray(boot.read(f"/slots/b/{name}"))
        content[len(content) // 2] ^= 1
        boot.write(f"/slots/b/{name}", bytes(content))
    vm = Vm(tmp_path, boot.write_back(tmp_path / "damaged.qcow2"))
    vm.config_drive(USER_DATA)
    with vm:
        if name != "record":
            vm.wait_for("booting slot b")
        vm.wait_for("booting slot a")
        vm.wait_for(STARTED)


def test_update_copies_the_files_of_the_disk(tmp_path: Path, disk: Path) -> None:
    made = extract_slot(disk, tmp_path / "scratch", tmp_path)
    boot = Partition(tmp_path, disk, 3)
    assert sorted(path.name for path in made.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (made / name).read_bytes() == boot.read(f"/slots/a/{name}"), name
    assert not (tmp_path / "scratch").exists()


def test_metal_has_firmware_and_microcode(cache: Path) -> None:
    kernel = fetch_kernel(cache / "image/kernels", Hardware.METAL, print)
    listed = run("unsquashfs", "-l", str(kernel.squashfs))
    assert "squashfs-root/firmware/bnx2x/" in listed
    assert f"squashfs-root/{kernel.release}/kernel/drivers/net/ethernet/broadcom/bnx2.ko" in listed
    start = initrd.build(kernel, Hardware.METAL)[:1024]
    assert start.startswith(b"070701")
    assert b"kernel/x86/microcode/GenuineIntel.bin" in start


def test_disk_is_small_and_the_same_each_time(disk: Path, image: NodeImage, cache: Path) -> None:
    assert disk.stat().st_size < SIZE * 2**20 / 3
    before = disk.read_bytes()
    disk.unlink()
    assert build_disk(cache, image, Hardware.SERVER, print).file.read_bytes() == before
