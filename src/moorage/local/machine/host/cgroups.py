"""A machine's cgroups: one folder in every version 1 hierarchy, or one in the unified hierarchy.

Which of the two a host has is read from its mounts. Limits and their files: the kernel's
Documentation/admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from moorage.host.run import HostError

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000
"""Microseconds of one period of the CPU quota."""
LEGACY = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified")


@dataclass(frozen=True)
class ControlGroup:
    """The cgroup `<parent>/<name>` on this host."""

    parent: str
    name: str
    root: Path = ROOT

    @property
    def unified(self) -> bool:
        """Whether this host has only the unified hierarchy (cgroup v2)."""
        return (self.root / "cgroup.controllers").exists()

    @property
    def hierarchies(self) -> list[Path]:
        if self.unified:
            return [self.root]
        return [self.root / name for name in LEGACY if (self.root / name / "cgroup.procs").exists()]

    @property
    def folders(self) -> list[Path]:
        return [hierarchy / self.parent / self.name for hierarchy in self.hierarchies]

    def create(self, cpus: int, memory: int) -> None:
        """Create the groups with limits: `cpus` whole CPUs, `memory` MiB."""
        for hierarchy in self.hierarchies:
            parent = hierarchy / self.parent
            parent.mkdir(exist_ok=True)
            if self.unified:
                _enable(self.root)
                _enable(parent)
            (parent / self.name).mkdir(exist_ok=True)
            if hierarchy.name == "cpuset":
                _copy_cpuset(hierarchy, parent, parent / self.name)
        self._limit(cpus, memory)

    def _limit(self, cpus: int, memory: int) -> None:
        quota, bytes_ = cpus * PERIOD, memory * 2**20
        if self.unified:
            group = self.root / self.parent / self.name
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
            (group / "memory.max").write_text(str(bytes_))
            return
        for hierarchy in self.hierarchies:
            group = hierarchy / self.parent / self.name
            if hierarchy.name == "memory":
                (group / "memory.limit_in_bytes").write_text(str(bytes_))
            elif hierarchy.name == "cpu":
                (group / "cpu.cfs_period_us").write_text(str(PERIOD))
                (group / "cpu.cfs_quota_us").write_text(str(quota))

    def enter(self) -> None:
        """Move the calling process into it."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def processes(self) -> set[int]:
        """All processes in it, at any depth."""
        pids: set[int] = set()
        for folder in self.folders[:1]:
            for group in [folder, *folder.rglob("*")]:
                procs = group / "cgroup.procs"
                if group.is_dir() and procs.exists():
                    pids.update(int(line) for line in procs.read_text().split())
        return pids

    def remove(self, timeout: float = 5.0) -> None:
        """Delete the groups, deepest first; the kernel needs a moment after the last process has ended."""
        deadline = time.monotonic() + timeout
        for folder in self.folders:
            while folder.exists() and not _remove_tree(folder):
                if time.monotonic() > deadline:
                    raise HostError(f"{folder} is still in use")
                time.sleep(0.02)
            parent = folder.parent
            if parent.exists() and not any(path.is_dir() for path in parent.iterdir()):
                _try_rmdir(parent)


def _enable(folder: Path) -> None:
    controllers = {"cpu", "memory", "pids", "io", "cpuset"} & set((folder / "cgroup.controllers").read_text().split())
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(controllers)))


def _copy_cpuset(*chain: Path) -> None:
    """A version 1 cpuset starts without CPUs and memory nodes: copy its parent's."""
    for parent, child in pairwise(chain):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (child / name).write_text((parent / name).read_text())


def _remove_tree(folder: Path) -> bool:
    inner = sorted((path for path in folder.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    return all(_try_rmdir(path) for path in [*inner, folder])


def _try_rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
