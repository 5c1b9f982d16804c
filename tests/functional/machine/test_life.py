"""A machine's life cycle on this host: start, checks from inside, stop, start again, remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from moorage.local.machine import life
from moorage.local.machine.host.cgroups import ControlGroup
from moorage.local.machine.spec import Machine
from moorage.model.boot import RECORD, BootRecord, Slot
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(120)]


@pytest.fixture
def machine(sandbox: Any) -> Machine:
    started: Machine = sandbox.create("demo-worker-0")
    sandbox.boot(started)
    return started


def slots(machine: Machine) -> tuple[Slot, ...]:
    return BootRecord.parse((machine.boot / RECORD).read_bytes()).slots


def test_machine_has_own_namespaces(sandbox: Any, machine: Machine) -> None:
    assert sandbox.inside(machine, "hostname") == "demo-worker-0"
    assert sandbox.inside(machine, "cat", "/proc/1/comm") == "systemd"
    assert sandbox.inside(machine, "systemctl", "--failed", "--no-legend") == ""
    assert sandbox.inside(machine, "ls", "/sys/class/net") == "lo"
    for kind in ("mnt", "pid", "uts", "ipc", "net", "cgroup"):
        assert sandbox.inside(machine, "readlink", f"/proc/1/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def test_machine_provides_what_the_image_needs(sandbox: Any, machine: Machine) -> None:
    assert "ro" in sandbox.inside(machine, "findmnt", "-no", "OPTIONS", "/").split(",")
    assert sandbox.inside(machine, "findmnt", "-no", "FSTYPE", "/var") == "ext4"
    assert sandbox.inside(machine, "findmnt", "-no", "FSTYPE", "/etc") == "overlay"
    assert sandbox.inside(machine, "cat", "/run/config-drive/openstack/latest/user_data") == "hello"
    assert sandbox.inside(machine, "cat", "/run/moorage/boot-slot") == "a"
    assert slots(machine) == (Slot("a", "test-1", 2),)
    assert "MemTotal:         524288 kB" in sandbox.inside(machine, "cat", "/proc/meminfo")
    assert sandbox.inside(machine, "sysctl", "-wq", "net.ipv4.ip_forward=1") == ""
    for node in ("null", "zero", "full", "random", "urandom", "tty", "fuse", "kmsg", "net/tun"):
        assert sandbox.inside(machine, "stat", "-c", "%F", f"/dev/{node}") == "character special file"


def test_machine_has_flavor_limits(sandbox: Any, machine: Machine) -> None:
    size = int(sandbox.inside(machine, "df", "--output=size", "-B1M", "/var").split()[-1])
    assert 850 < size < 1024
    hog = "import time; kept = bytearray(900 * 2**20); time.sleep(60)"
    pid = life.pid(machine)
    result = subprocess.run(
        [sys.executable, "-c", f"import os\n{_enter_group(machine)}\n{hog}"], check=False, timeout=60
    )
    assert result.returncode == -signal.SIGKILL, "a machine of 512 MiB could use 900"
    assert life.pid(machine) == pid


def _enter_group(machine: Machine) -> str:
    """Return code that moves its process into a group below the machine's, like a service of the machine."""
    folder = next(f for f in _folders(machine) if (f / "memory.limit_in_bytes").exists() or (f / "memory.max").exists())
    service = folder / "system.slice"
    return f"open({str(service / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"


def _folders(machine: Machine) -> list[Path]:
    return ControlGroup(machine.cgroup_parent, machine.id).folders


def test_start_running_machine_changes_nothing(sandbox: Any, machine: Machine) -> None:
    assert sandbox.start(machine) == life.pid(machine)


def test_stop_keeps_data_and_configuration(sandbox: Any, machine: Machine) -> None:
    sandbox.inside(machine, "sh", "-c", "echo kept > /var/file; echo kept > /etc/file")
    began = time.monotonic()
    life.stop(machine, sandbox.host)
    assert time.monotonic() - began < 5, "systemd did not shut down"
    assert life.pid(machine) is None
    sandbox.start(machine)
    assert sandbox.inside(machine, "cat", "/var/file", "/etc/file") == "kept\nkept"


def test_killed_machine_can_be_started(sandbox: Any, machine: Machine) -> None:
    first = life.pid(machine)
    life.kill(machine, sandbox.host)
    assert life.pid(machine) is None
    assert sandbox.start(machine) != first
    sandbox.wait_until_booted(machine)


def test_reboot_inside_restarts_machine(sandbox: Any, machine: Machine) -> None:
    first = life.pid(machine)
    sandbox.inside(machine, "touch", "/run/before")
    sandbox.inside(machine, "systemctl", "reboot", "--no-block")
    until(lambda: life.pid(machine) not in (first, None), seconds=20)
    sandbox.wait_until_booted(machine)
    assert sandbox.inside(machine, "sh", "-c", "ls /run/before 2>&1 || true").endswith("No such file or directory")
    assert slots(machine) == (Slot("a", "test-1", 1),)


def test_poweroff_inside_stops_machine(sandbox: Any, machine: Machine) -> None:
    sandbox.inside(machine, "systemctl", "poweroff", "--no-block")
    until(lambda: life.pid(machine) is None, seconds=20)
    time.sleep(0.5)
    assert life.pid(machine) is None


def test_console_is_stored(sandbox: Any, machine: Machine) -> None:
    sandbox.inside(machine, "sh", "-c", "echo a word to the operator > /dev/console")
    until(lambda: b"a word to the operator" in machine.console.read_bytes(), seconds=20)


def test_machine_survives_its_starter(sandbox: Any) -> None:
    machine = sandbox.create()
    code = (
        "from moorage.local.machine import life, spec; from moorage.local.machine.host.linux import LinuxHost\n"
        "from pathlib import Path; import sys\n"
        "life.start(spec.load(Path(sys.argv[1])), LinuxHost())"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, machine.folder], start_new_session=True)
    assert starter.wait(30) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGKILL)  # as a supervisor does with the service's process group
    assert life.pid(machine) is not None


def test_only_image_boots_without_attempts_left(sandbox: Any) -> None:
    machine = sandbox.create()
    for _ in range(4):
        sandbox.start(machine)
        life.kill(machine, sandbox.host)
    assert slots(machine) == (Slot("a", "test-1", 0),)


def test_start_without_slot_fails(sandbox: Any) -> None:
    machine = sandbox.create()
    (machine.boot / RECORD).unlink()
    with pytest.raises(life.DidNotStart, match="no slot to boot"):
        sandbox.start(machine)


def test_stop_all_keeps_data(sandbox: Any) -> None:
    machines = [sandbox.create(f"m{number}") for number in range(3)]
    for machine in machines:
        sandbox.start(machine)
    for machine in machines:
        sandbox.wait_until_booted(machine)
    began = time.monotonic()
    life.stop_all(sandbox.state, sandbox.host)
    assert time.monotonic() - began < 10
    assert [life.pid(machine) for machine in machines] == [None] * 3
    assert all(machine.disk_file.exists() for machine in machines)
    sandbox.start(machines[1])
    sandbox.wait_until_booted(machines[1])
