"""The port for the machine that moorage-node runs on (units, addresses, resources), and its real adapter."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from moorage.node.configuration import Resources

UNLIMITED = 1 << 60
"""A cgroup without a limit shows a number above this, or none."""

RELEASED = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).timestamp()
"""A clock that shows an earlier time is wrong."""


class Machine(Protocol):
    """The port. No method raises for something that does not exist yet."""

    def start(self, *units: str) -> None:
        """Start units, without waiting for them."""
        ...

    def restart(self, unit: str) -> None:
        """Restart a unit, and wait for it."""
        ...

    def reboot(self) -> None:
        """Reboot the machine, without waiting."""
        ...

    def failing(self, units: Sequence[str]) -> list[str]:
        """The units that are not running."""
        ...

    def clear_pod_groups(self) -> None:
        """Delete cgroups of pods without processes."""
        ...

    def since(self, unit: str) -> float:
        """When a unit was started, in seconds of the epoch; 0 when it was not."""
        ...

    def last_log_line(self, unit: str) -> str:
        """The last line that a unit logged, or an empty string."""
        ...

    def own_address(self, towards: str) -> str | None:
        """The source address for packets to `towards`; None before the network is up."""
        ...

    def has_address(self, address: str) -> bool:
        """Whether this machine has an address."""
        ...

    def clock_is_set(self) -> bool:
        """Whether the clock shows a time that can be right; a server's hardware may not know it."""
        ...

    def resources(self) -> Resources:
        """Memory and CPUs: what the kernel shows, and what may be used."""
        ...

    def set_hostname(self, name: str) -> None:
        """Set the machine's host name."""
        ...


class Linux:
    """The machine that this process runs on, with systemd."""

    def start(self, *units: str) -> None:
        subprocess.run(["systemctl", "start", "--no-block", *units], check=True)

    def restart(self, unit: str) -> None:
        subprocess.run(["systemctl", "restart", unit], check=True)

    def reboot(self) -> None:
        subprocess.run(["systemctl", "reboot", "--no-block"], check=True)

    def failing(self, units: Sequence[str]) -> list[str]:
        shown = subprocess.run(["systemctl", "is-active", *units], capture_output=True, text=True, check=False)
        return [unit for unit, state in zip(units, shown.stdout.split(), strict=False) if state != "active"]

    def clear_pod_groups(self) -> None:
        clear_groups(Path("/sys/fs/cgroup"), "kubepods")

    def since(self, unit: str) -> float:
        command = ["systemctl", "show", "--timestamp=unix", "--value", "-p", "ExecMainStartTimestamp", unit]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return float(shown.removeprefix("@") or 0)

    def last_log_line(self, unit: str) -> str:
        command = ["journalctl", "-q", "-o", "cat", "-n", "1", f"_SYSTEMD_UNIT={unit}.service"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()[-300:]

    def own_address(self, towards: str) -> str | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((towards, 9))
            except OSError:
                return None
            address: str = probe.getsockname()[0]
            return address

    def has_address(self, address: str) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                return False
            return True

    def clock_is_set(self) -> bool:
        return clock_is_set(Path("/"))

    def resources(self) -> Resources:
        shown = memory_shown(Path("/proc/meminfo").read_text())
        cpus = (os.cpu_count() or 1) * 1000
        return Resources(shown, min(memory_limit(Path("/sys/fs/cgroup")) >> 20, shown), cpus, _cpus(cpus))

    def set_hostname(self, name: str) -> None:
        if socket.gethostname() != name:
            socket.sethostname(name)


def clock_is_set(root: Path) -> bool:
    """Whether the hardware's clock knew the time at boot, or a time server has set it since.

    The system's time does not show it, because systemd sets one before its own build to that. Without a clock of the
    hardware, the hypervisor gives the time.
    """
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    try:
        return int((root / "sys/class/rtc/rtc0/since_epoch").read_text()) > RELEASED
    except (OSError, ValueError):
        return True


def clear_groups(groups: Path, name: str) -> None:
    """Delete the cgroups `name`, in every hierarchy, where no process runs in them."""
    for top in (groups / name, *groups.glob(f"*/{name}")):
        below = sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
        for group in [*below, top] if top.is_dir() else []:
            with contextlib.suppress(OSError):  # the kernel refuses to delete one in use
                group.rmdir()


def memory_shown(meminfo: str) -> int:
    """Total MiB in /proc/meminfo, which the kubelet uses."""
    total = next(line for line in meminfo.splitlines() if line.startswith("MemTotal:"))
    return int(total.split()[1]) >> 10


def memory_limit(groups: Path) -> int:
    """Bytes that the machine's own cgroup may use, in either version of cgroups."""
    for file in (groups / "memory.max", groups / "memory/memory.limit_in_bytes"):
        try:
            return min(int(file.read_text()), UNLIMITED)
        except (FileNotFoundError, ValueError):
            continue
    return UNLIMITED


def cpu_quota(groups: Path) -> int | None:
    """Thousandths of a CPU that the machine's own cgroup may use; None without a limit."""
    try:
        quota, period = (groups / "cpu.max").read_text().split()
    except FileNotFoundError:
        try:
            quota = (groups / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (groups / "cpu/cpu.cfs_period_us").read_text()
        except FileNotFoundError:
            return None
    return None if quota in ("max", "-1") else int(quota) * 1000 // int(period)


def _cpus(shown: int) -> int:
    quota = cpu_quota(Path("/sys/fs/cgroup"))
    return shown if quota is None else min(quota, shown)
