"""Create, start, stop and delete a machine. Each can be repeated, and completes what an earlier call left."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from moorage.local.machine import disks, interfaces
from moorage.local.machine.host.port import Cgroup, Host
from moorage.local.machine.monitor import start_time
from moorage.local.machine.spec import Machine, load_all

START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0
REBOOT_TIMEOUT = 2.0
"""Seconds within which a monitor starts a rebooted machine again."""
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HALT = signal.SIGRTMIN + 4
"""systemd(1): start poweroff.target."""


class DidNotStart(Exception):
    """The machine's first process ended at once; the message has the tail of its output."""


def create(machine: Machine, image: Path, config_drive: dict[str, bytes]) -> None:
    """Create everything of a machine that survives a stop."""
    machine.path.mkdir(parents=True, exist_ok=True)
    for name, content in config_drive.items():
        target = machine.config_drive / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    disks.install_image(machine, image)
    disks.create_disk(machine)
    machine.save()


def start(machine: Machine, host: Host) -> int:
    """Start a machine that was created; returns the pid of its PID 1. Does nothing when it runs. DidNotStart."""
    running = pid(machine)
    if running:
        return running
    host.add_cgroup(_cgroup(machine), machine.cpus, machine.memory)
    host.add_namespace(machine.namespace)
    for nic in machine.nics:
        interfaces.connect(nic, machine, host)
    for volume in machine.volumes:
        host.attach_loop(Path(volume.path))
    machine.process.unlink(missing_ok=True)
    return _launch(machine)


def _launch(machine: Machine) -> int:
    # The monitor needs only Moorage and the standard library: no site packages, no environment of the service.
    command = [sys.executable, "-S", "-m", "moorage.local.machine.monitor", machine.folder]
    environment = {"PATH": PROGRAMS, "PYTHONPATH": str(Path(__file__).parents[3])}
    with (machine.path / "monitor.log").open("ab") as log:
        monitor = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", env=environment
        )
    # Only this thread waits for it, so that it does not remain as a zombie.
    threading.Thread(target=monitor.wait, daemon=True, name=f"monitor of {machine.id}").start()
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        running = pid(machine)
        if running:
            return running
        if monitor.poll() is not None:
            raise DidNotStart(_failure_output(machine))
        time.sleep(0.01)
    raise DidNotStart(f"not running after {START_TIMEOUT:.0f} s: {_failure_output(machine)}")


def _failure_output(machine: Machine) -> str:
    outputs = [
        path.read_text(errors="replace") for path in (machine.path / "monitor.log", machine.console) if path.exists()
    ]
    return "\n".join(outputs)[-600:].strip() or "no output"


def pid(machine: Machine) -> int | None:
    """Return the host pid of a machine's PID 1; None when the machine does not run."""
    try:
        record = json.loads(machine.process.read_text())
        if start_time(record["pid"]) != record["started"] or _is_zombie(record["pid"]):
            return None
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(record["pid"])


def _is_zombie(number: int) -> bool:
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")


def wait_for_end(machine: Machine, timeout: float) -> bool:
    """Wait up to `timeout` seconds for a machine's PID 1 to end; return whether it has ended."""
    running = pid(machine)
    if running is None:
        return True
    try:
        descriptor = os.pidfd_open(running)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([descriptor], [], [], timeout)
    finally:
        os.close(descriptor)
    return bool(ended)


def is_running(machine: Machine) -> bool:
    """Whether a machine runs, or is in the middle of a reboot."""
    return pid(machine) is not None or has_restarted(machine, REBOOT_TIMEOUT)


def has_restarted(machine: Machine, timeout: float) -> bool:
    """Whether a machine that has ended runs again within `timeout` seconds, as after a reboot.

    The monitor deletes `process.json` once it knows that this was not a reboot.
    """
    deadline = time.monotonic() + timeout
    while machine.process.exists() and time.monotonic() < deadline:
        if pid(machine) is not None:
            return True
        time.sleep(0.05)
    return False


def stop(machine: Machine, host: Host, timeout: float = STOP_TIMEOUT) -> None:
    """Shut a machine down: systemd has `timeout` seconds to stop its services, then the machine is killed."""
    running = pid(machine)
    if running is None:
        return
    if timeout > 0:
        _send_signal(running, HALT)
        if wait_for_end(machine, timeout):
            _wait_for_unmount(machine, host)
            return
    kill(machine, host)


def kill(machine: Machine, host: Host) -> None:
    """Stop a machine at once, as a power failure does."""
    running = pid(machine)
    if running is not None:
        _send_signal(running, signal.SIGKILL)
        wait_for_end(machine, 10)
    _wait_for_unmount(machine, host)


def _send_signal(number: int, which: int) -> None:
    try:
        os.kill(number, which)
    except ProcessLookupError:
        return  # the process has ended already


def _wait_for_unmount(machine: Machine, host: Host) -> None:
    """Wait until the kernel has removed the machine's mounts: its disk must not be mounted twice."""
    deadline = time.monotonic() + 10
    while (host.processes(_cgroup(machine)) or host.loops(machine.disk_file)) and time.monotonic() < deadline:
        time.sleep(0.02)


def remove(machine: Machine, host: Host) -> None:
    """Stop a machine and delete everything of it on the host; does nothing when it does not exist."""
    kill(machine, host)
    for nic in machine.nics:
        interfaces.disconnect(nic, host)
    _release(machine, host)
    if machine.path.exists():
        disks.remove(machine)


def stop_all(
    state: Path, host: Host, timeout: float = STOP_TIMEOUT, report: Callable[[str], None] = lambda text: None
) -> None:
    """Shut all machines down in parallel, and release their resources on the host; their data is kept."""
    machines = load_all(state)
    for machine in machines:
        running = pid(machine)
        if running is not None:
            report(f"stopping the server {machine.hostname}")
            _send_signal(running, HALT)
    deadline = time.monotonic() + timeout
    for machine in machines:
        wait_for_end(machine, max(0.0, deadline - time.monotonic()))
        kill(machine, host)
        for nic in machine.nics:
            host.remove_link(nic.tap)
        _release(machine, host)
    disks.unmount_slots(state)


def _release(machine: Machine, host: Host) -> None:
    """Release the host resources of a stopped machine, except its interfaces."""
    host.remove_namespace(machine.namespace)
    host.remove_cgroup(_cgroup(machine))
    for volume in machine.volumes:
        host.detach_loop(Path(volume.path))


def _cgroup(machine: Machine) -> Cgroup:
    return Cgroup(machine.cgroup_parent, machine.id)
