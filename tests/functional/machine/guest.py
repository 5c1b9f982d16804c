"""PID 1 of a small virtual machine with cgroup v2 only: boots a machine container there and checks it.

It writes `PASSED`, or `FAILED` and the reason, to the serial console.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

DISK = Path("/mnt")
POWER_OFF = 0x4321FEDC  # reboot(2)
HOG = "import os; open('{procs}', 'w').write(str(os.getpid())); kept = bytearray(400 * 2**20)"


def main() -> None:
    try:
        prepare()
        check_machine()
        print("PASSED", flush=True)
    except BaseException:
        traceback.print_exc()
        print("FAILED", flush=True)
    time.sleep(0.5)
    os.sync()
    ctypes.CDLL(None).reboot(POWER_OFF)


def prepare() -> None:
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", PYTHONPATH=str(DISK / "src"))
    sys.path.insert(0, str(DISK / "src"))
    Path("/dev/pts").mkdir(exist_ok=True)
    for kind, target in (("devpts", "/dev/pts"), ("tmpfs", "/run"), ("tmpfs", "/tmp"), ("cgroup2", "/sys/fs/cgroup")):
        subprocess.run(["mount", "-t", kind, kind, target], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def check_machine() -> None:
    from moorage.local.machine import disks, life
    from moorage.local.machine.host.cgroups import ControlGroup
    from moorage.local.machine.host.linux import LinuxHost
    from moorage.local.machine.spec import Machine

    host = LinuxHost()
    machine = Machine("one", "one", str(DISK / "machines/one"), "test-1", 1, 256, 1, "moorage")
    group = ControlGroup("moorage", "one")
    assert group.unified, "this host should have only cgroup v2"
    life.create(machine, DISK / "machines/image.squashfs", {})
    report("created")
    pid = life.start(machine, host)
    report("started")

    def run_inside(*words: str) -> str:
        result = subprocess.run(
            ["nsenter", "-t", str(pid), "--all", *words], capture_output=True, text=True, check=False
        )
        return result.stdout.strip()

    until(lambda: run_inside("systemctl", "is-active", "multi-user.target") == "active")
    report("booted")
    assert Path("/proc/sysrq-trigger").exists(), "this kernel should have the file that the next line writes to"
    assert "Read-only" in run_inside("sh", "-c", "echo h 2>&1 >/proc/sysrq-trigger || true"), (
        "the machine can reset the host"
    )
    folder = group.folders[0]
    assert (folder / "memory.max").read_text().strip() == str(256 * 2**20)
    assert (folder / "cpu.max").read_text().strip() == "100000 100000"
    assert {"cpu", "memory", "pids"} <= set(run_inside("cat", "/sys/fs/cgroup/cgroup.controllers").split())
    assert run_inside("cat", "/proc/1/cgroup") == "0::/init.scope", "the machine's group is not its root"
    assert (folder / "system.slice").is_dir(), "systemd did not take over the control group"
    run_inside("systemctl", "set-property", "--runtime", "system.slice", "MemoryMax=100M")
    assert (folder / "system.slice/memory.max").read_text().strip() == str(100 * 2**20), (
        "the memory controller was not delegated"
    )
    report("limits are set")
    leaf = folder / "hog"
    leaf.mkdir()
    hog = subprocess.run([sys.executable, "-c", HOG.format(procs=leaf / "cgroup.procs")], check=False)
    assert hog.returncode == -signal.SIGKILL, f"a machine of 256 MiB could use 400 ({hog.returncode})"
    assert life.pid(machine) == pid, "the machine ended with the process"
    report("limits hold")
    life.stop(machine, host, 60)
    assert life.pid(machine) is None
    report("stopped")
    life.remove(machine, host)
    disks.unmount_slots(DISK / "machines")
    assert not Path("/sys/fs/cgroup/moorage").exists(), "a control group remains"
    assert not subprocess.run(["losetup", "-l", "-n"], capture_output=True, check=True).stdout, "a loop device remains"


def until(condition: Callable[[], bool], timeout: float = 150.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(1)


def report(message: str) -> None:
    print(f"[{time.monotonic():.0f} s] {message}", flush=True)


if __name__ == "__main__":
    main()
