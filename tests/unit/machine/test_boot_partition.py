"""The boot partition of a machine: slots, entries, and which entry boots next."""

from pathlib import Path

import pytest

from moorage.local.machine import disks
from moorage.local.machine.spec import Machine

pytestmark = pytest.mark.unit


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.squashfs"
    file.write_bytes(b"hsqs")
    return file


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine("m", "m", str(tmp_path / "m"), "12-1", 1, 512, 1, "moorage")


def entries(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.boot / "loader/entries").iterdir())


def test_slot_is_a_hard_link(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    assert (machine.boot / "slots/12-1.squashfs").samefile(image)
    assert entries(machine) == ["moorage-12-1+3.conf"]


def test_start_counts_attempts_and_only_entry_boots_when_bad(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    assert [disks.next_entry(machine).filename for _ in range(4)] == [
        "moorage-12-1+2-1.conf",
        "moorage-12-1+1-2.conf",
        "moorage-12-1+0-3.conf",
        "moorage-12-1+0-3.conf",
    ]
    assert entries(machine) == ["moorage-12-1+0-3.conf"]


def test_start_without_entry_fails(machine: Machine) -> None:
    with pytest.raises(disks.NoBootEntry, match="no boot entry"):
        disks.next_entry(machine)


def test_install_again_keeps_attempts(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    disks.next_entry(machine)
    disks.install_image(machine, image)
    assert entries(machine) == ["moorage-12-1+2-1.conf"]


def test_blessed_entry_is_not_counted(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    folder = machine.boot / "loader/entries"
    (folder / "moorage-12-1+3.conf").rename(folder / "moorage-12-1.conf")
    assert [disks.next_entry(machine).filename for _ in range(5)] == ["moorage-12-1.conf"] * 5


def test_newer_slot_boots_until_attempts_are_used(machine: Machine, image: Path) -> None:
    disks.install_image(machine, image)
    folder = machine.boot / "loader/entries"
    (folder / "moorage-12-1+3.conf").rename(folder / "moorage-12-1.conf")
    (folder / "moorage-12-2+1.conf").write_text("version 12-2\noptions moorage.slot=/slots/12-2.squashfs\n")
    assert [disks.next_entry(machine).version for _ in range(2)] == ["12-2", "12-1"]
