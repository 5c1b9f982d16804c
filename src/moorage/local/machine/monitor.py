"""The monitor process of one machine: starts its PID 1, stores its console, restarts it after a reboot.

Run as `python -m moorage.local.machine.monitor FOLDER`. It does not end with Nova, because it has its own session;
other processes read the machine's state from `process.json`. It ends when the machine does, unless that was a reboot.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sys
import traceback
from pathlib import Path

from moorage.host import kernel
from moorage.host.run import HostError
from moorage.local.machine import disks, inside
from moorage.local.machine.spec import Machine, load

CONSOLE_LIMIT = 4 * 2**20
"""Bytes of console output that are kept; beyond that the older half is dropped."""


class InitFailed(Exception):
    """The machine's namespaces and mounts could not be created; the message is the traceback."""


def main(folder: str) -> None:
    machine = load(Path(folder))
    while run_once(machine) == signal.SIGHUP:  # reboot(2) in a PID namespace: its init dies of SIGHUP
        machine = load(Path(folder))
    machine.process.unlink(missing_ok=True)


def run_once(machine: Machine) -> int:
    """Run the machine until its PID 1 ends; return the signal that ended it, 0 for none."""
    master, terminal = pty.openpty()
    child = _boot(machine, terminal)
    _record_process(machine, child)
    _record_console(machine, master, child)
    _, status = os.waitpid(child, 0)
    for descriptor in (master, terminal):
        os.close(descriptor)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _boot(machine: Machine, terminal: int) -> int:
    """Start PID 1 from the next slot, or at once from another one when that has no image that can be started."""
    slots = disks.boot_order(machine)
    for slot in slots:
        # The namespace of a PID 1 that has ended takes no process: return to this process's own first.
        kernel.setns("/proc/self/ns/pid", kernel.NEWPID)
        try:
            return _fork(machine, disks.mount_slot(machine, slot), slot.name, terminal)
        except (OSError, HostError, InitFailed) as error:
            with machine.console.open("a") as console:
                console.write(f"slot {slot} cannot be started: {str(error).strip().splitlines()[-1]}\r\n")
            if slot == slots[-1]:
                raise
    raise AssertionError("there is a slot: boot_order raises without any")


def _fork(machine: Machine, root: Path, slot: str, terminal: int) -> int:
    """Fork the machine's PID 1 and return its pid once it has execed systemd; otherwise InitFailed."""
    kernel.unshare(kernel.NEWPID)
    reader, report = os.pipe()  # closed by a successful exec, written to by a failed one
    child = os.fork()
    if child == 0:
        try:
            inside.start_init(machine, root, slot, terminal)
        except BaseException:
            os.write(report, traceback.format_exc().encode())
            os._exit(1)
    os.close(report)
    with open(reader, encoding="utf-8", errors="replace") as pipe:
        error_text = pipe.read()
    if error_text:
        os.waitpid(child, 0)
        raise InitFailed(error_text)
    return child


def _record_process(machine: Machine, pid: int) -> None:
    partial = machine.process.with_suffix(".new")
    partial.write_text(json.dumps({"pid": pid, "started": start_time(pid), "monitor": os.getpid()}))
    partial.rename(machine.process)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5), field 22): with its pid, its identity."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _record_console(machine: Machine, master: int, child: int) -> None:
    """Copy the machine's output to its console file until its PID 1 has ended.

    This process keeps the terminal's other end open, because systemd closes its own between two messages.
    """
    ended = os.pidfd_open(child)
    poll = select.poll()
    for descriptor in (master, ended):
        poll.register(descriptor, select.POLLIN)
    with machine.console.open("ab", buffering=0) as console:
        while ready := {descriptor for descriptor, _ in poll.poll()}:
            if master in ready:
                console.write(os.read(master, 65536))
                if console.tell() > CONSOLE_LIMIT:
                    _halve(machine.console)
            elif ended in ready:
                break
    os.close(ended)


def _halve(path: Path) -> None:
    newer_half = path.read_bytes()[-CONSOLE_LIMIT // 2 :]
    path.write_bytes(newer_half)


if __name__ == "__main__":
    main(sys.argv[1])
