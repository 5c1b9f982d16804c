"""Nova's driver: it can be called as Nova calls it, and reports what placement can count on."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore"),  # Nova's, as it is imported
]


@pytest.fixture(scope="module")
def module() -> Any:
    pytest.importorskip("nova", reason="the extra `local` is not installed")
    from moorage.local.machine import driver

    return driver


def test_methods_match_novas_signatures(module: Any) -> None:
    own, base = module.MachineDriver, module.driver.ComputeDriver
    for name, method in vars(own).items():
        if name.startswith("_") or not callable(method) or not hasattr(base, name):
            continue
        wanted = list(inspect.signature(getattr(base, name)).parameters)
        given = inspect.signature(method).parameters
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in given.values()):
            continue
        assert list(given)[: len(wanted)] == wanted, f"{name}{tuple(given)} is called as {name}{tuple(wanted)}"


def test_device_names_are_assigned_in_turn(module: Any) -> None:
    taken = [SimpleNamespace(device_name=name) for name in ("/dev/vda", "/dev/vdb", None)]
    assert module.MachineDriver.get_device_name_for_instance(None, None, taken, None) == "/dev/vdc"


def test_disks_are_limited_by_letters(module: Any) -> None:
    taken = [SimpleNamespace(device_name=f"/dev/vd{letter}") for letter in "abcdefghijklmnopqrstuvwxyz"]
    with pytest.raises(module.exception.TooManyDiskDevices, match="26"):
        module.MachineDriver.get_device_name_for_instance(None, None, taken, None)


def test_memory_is_read_from_host(module: Any) -> None:
    total, used = module._memory()
    assert 0 < used < total
    assert str(total // 1024) in Path("/proc/meminfo").read_text()
