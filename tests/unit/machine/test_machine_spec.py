"""A machine's paths, and its record between two nova-compute processes."""

from dataclasses import replace
from pathlib import Path

import pytest

from moorage.local.machine.spec import Machine, Nic, Volume, load, load_all

pytestmark = pytest.mark.unit

NIC = Nic("0d1e2f3a-4b5c-6d7e-8f90-a1b2c3d4e5f6", "fa:16:3e:00:00:01", 1442, "eth0")
VOLUME = Volume("8f9e0d1c-2b3a-4958-8776-655443322110", "/volumes/v", "vdb")


def machine(folder: Path, name: str = "m") -> Machine:
    return Machine(name, "demo-worker-0", str(folder / name), "12-1", 2, 2048, 10, "moorage", (NIC,), (VOLUME,))


def save_machine(folder: Path, name: str) -> Machine:
    saved = machine(folder, name)
    saved.path.mkdir()
    saved.save()
    return saved


def test_saved_machine_is_read_back(tmp_path: Path) -> None:
    assert load(save_machine(tmp_path, "m").path) == machine(tmp_path)


def test_save_again_replaces(tmp_path: Path) -> None:
    replace(save_machine(tmp_path, "m"), nics=()).save()
    assert load(tmp_path / "m").nics == ()


def test_load_all_finds_machines_only(tmp_path: Path) -> None:
    save_machine(tmp_path, "b")
    save_machine(tmp_path, "a")
    (tmp_path / ".slots").mkdir()
    (tmp_path / "incomplete").mkdir()
    assert [loaded.id for loaded in load_all(tmp_path)] == ["a", "b"]


def test_load_without_machine_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path)


def test_tap_name_fits_the_kernel_limit() -> None:
    assert NIC.tap == "tap0d1e2f3a-4b"
    assert len(NIC.tap) <= 15


def test_volume_serial_is_virtios() -> None:
    assert VOLUME.serial == "8f9e0d1c-2b3a-4958-8"
    assert len(VOLUME.serial) == 20
