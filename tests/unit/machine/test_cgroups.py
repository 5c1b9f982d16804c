"""Cgroups in folders with the layout of version 1 and of version 2."""

from pathlib import Path

import pytest

from moorage.host.run import HostError
from moorage.local.machine.host.cgroups import ControlGroup

pytestmark = pytest.mark.unit


@pytest.fixture
def legacy(tmp_path: Path) -> ControlGroup:
    """A host that mounts version 1 controllers one by one."""
    for name in ("cpu", "memory", "pids", "cpuset", "systemd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    for folder in ("cpuset", "cpuset/moorage", "cpuset/moorage/m"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for file, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
            (tmp_path / folder / file).write_text(value if folder == "cpuset" else "")
    return ControlGroup("moorage", "m", tmp_path)


@pytest.fixture
def unified(tmp_path: Path) -> ControlGroup:
    """A host with only version 2, without one of the controllers that the code enables."""
    (tmp_path / "moorage").mkdir()
    for folder in (tmp_path, tmp_path / "moorage"):
        (folder / "cgroup.controllers").write_text("cpuset cpu memory pids rdma\n")
        (folder / "cgroup.procs").touch()
    return ControlGroup("moorage", "m", tmp_path)


def text(group: ControlGroup, path: str) -> str:
    return (group.root / path).read_text()


def test_unified_is_false_for_version_1_hierarchies(legacy: ControlGroup) -> None:
    assert not legacy.unified
    assert {path.name for path in legacy.hierarchies} == {"cpu", "memory", "pids", "cpuset", "systemd"}


def test_version_1_limits(legacy: ControlGroup) -> None:
    legacy.create(cpus=2, memory=2048)
    assert text(legacy, "memory/moorage/m/memory.limit_in_bytes") == str(2 * 1024**3)
    assert text(legacy, "cpu/moorage/m/cpu.cfs_period_us") == "100000"
    assert text(legacy, "cpu/moorage/m/cpu.cfs_quota_us") == "200000"


def test_version_1_cpuset_copies_parent(legacy: ControlGroup) -> None:
    legacy.create(cpus=1, memory=512)
    assert text(legacy, "cpuset/moorage/m/cpuset.cpus") == "0-1"
    assert text(legacy, "cpuset/moorage/m/cpuset.mems") == "0"


def test_version_2_limits(unified: ControlGroup) -> None:
    unified.create(cpus=2, memory=1024)
    assert text(unified, "moorage/m/memory.max") == str(1024**3)
    assert text(unified, "moorage/m/cpu.max") == "200000 100000"


def test_version_2_enables_available_controllers(unified: ControlGroup) -> None:
    unified.create(cpus=1, memory=512)
    for folder in ("", "moorage/"):
        assert text(unified, f"{folder}cgroup.subtree_control") == "+cpu +cpuset +memory +pids"


def test_create_again_does_nothing(unified: ControlGroup) -> None:
    unified.create(cpus=1, memory=512)
    unified.create(cpus=2, memory=512)
    assert text(unified, "moorage/m/cpu.max") == "200000 100000"


def test_processes_at_any_depth(unified: ControlGroup) -> None:
    unified.create(cpus=1, memory=512)
    for folder, pids in (("", "1\n"), ("system.slice", "2\n"), ("system.slice/x.service", "3\n4\n")):
        (unified.folders[0] / folder).mkdir(exist_ok=True)
        (unified.folders[0] / folder / "cgroup.procs").write_text(pids)
    assert unified.processes() == {1, 2, 3, 4}


def test_missing_group_is_empty_and_removable(unified: ControlGroup) -> None:
    missing = ControlGroup("other", "m", unified.root)
    assert missing.processes() == set()
    missing.remove()


def test_remove_group_in_use_is_reported(unified: ControlGroup) -> None:
    unified.create(cpus=1, memory=512)  # a folder with files cannot be removed, as a cgroup with processes cannot
    with pytest.raises(HostError, match="is still in use"):
        unified.remove(timeout=0.05)
