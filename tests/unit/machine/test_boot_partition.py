"""The boot partition of a machine: its slots, and which one boots next."""

from pathlib import Path

import pytest

from moorage.local.machine import disks
from moorage.local.machine.spec import Machine
from moorage.model.boot import RECORD, BootRecord, Slot

pytestmark = pytest.mark.unit


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.squashfs"
    file.write_bytes(b"hsqs")
    return file


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine("m", "m", str(tmp_path / "m"), "12-1", 1, 512, 1, "moorage")


def slots(machine: Machine) -> tuple[Slot, ...]:
    return BootRecord.parse((machine.boot / RECORD).read_bytes()).slots


def write(machine: Machine, *slots: Slot) -> None:
    (machine.boot / RECORD).write_bytes(BootRecord(slots).content())


def test_slot_is_a_hard_link(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    assert (machine.boot / "slots/a/root.squashfs").samefile(image)
    assert slots(machine) == (Slot("a", "12-1", 3),)


def test_start_counts_attempts_and_only_slot_boots_when_bad(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    assert [disks.boot_order(machine)[0].name for _ in range(4)] == ["a"] * 4
    assert slots(machine) == (Slot("a", "12-1", 0),)


def test_start_without_slot_fails(machine: Machine) -> None:
    with pytest.raises(disks.NoBootSlot, match="no slot to boot"):
        disks.boot_order(machine)


def test_install_again_keeps_attempts(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    disks.boot_order(machine)
    disks.install_image(machine, image)
    assert slots(machine) == (Slot("a", "12-1", 2),)


def test_blessed_slot_is_not_counted(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    write(machine, Slot("a", "12-1"))
    assert [disks.boot_order(machine)[0].name for _ in range(5)] == ["a"] * 5
    assert slots(machine) == (Slot("a", "12-1"),)


def test_newer_slot_boots_until_attempts_are_used(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    write(machine, Slot("b", "12-2", 1), Slot("a", "12-1"))
    assert [disks.boot_order(machine)[0].version for _ in range(2)] == ["12-2", "12-1"]


def test_other_slot_is_the_second_choice(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    write(machine, Slot("b", "12-2", 0), Slot("a", "12-1"))
    assert [slot.name for slot in disks.boot_order(machine)] == ["a", "b"]


def test_machine_with_damaged_record_boots(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    (machine.boot / RECORD).write_bytes(b"")
    assert disks.boot_order(machine)[0] == Slot("a", "12-1")


def test_record_is_written_through_no_link_of_the_machine(machine: Machine, image: Path, tmp_path: Path) -> None:
    disks.install_image(machine, image)
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (machine.boot / RECORD).with_suffix(".new").symlink_to(victim)
    disks.boot_order(machine)
    assert victim.read_text() == "kept"
    assert slots(machine) == (Slot("a", "12-1", 2),)
