"""Nova's driver: its methods' signatures, device names, and reported memory."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore"),  # warnings from importing Nova
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
        required = list(inspect.signature(getattr(base, name)).parameters)
        parameters = inspect.signature(method).parameters
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values()):
            continue
        assert list(parameters)[: len(required)] == required, (
            f"{name}{tuple(parameters)} is called as {name}{tuple(required)}"
        )


def test_device_names_are_assigned_in_turn(module: Any) -> None:
    devices = [SimpleNamespace(device_name=name) for name in ("/dev/vda", "/dev/vdb", None)]
    assert module.MachineDriver.get_device_name_for_instance(None, None, devices, None) == "/dev/vdc"


def test_disks_are_limited_by_letters(module: Any) -> None:
    devices = [SimpleNamespace(device_name=f"/dev/vd{letter}") for letter in "abcdefghijklmnopqrstuvwxyz"]
    with pytest.raises(module.exception.TooManyDiskDevices, match="26"):
        module.MachineDriver.get_device_name_for_instance(None, None, devices, None)


def test_memory_is_read_from_host(module: Any) -> None:
    total, used = module._read_memory()
    assert 0 < used < total
    assert str(total // 1024) in Path("/proc/meminfo").read_text()
