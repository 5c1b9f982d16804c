"""libvirtd, in a mount namespace that has this cloud's folders where libvirt expects its own.

So it shares neither configuration nor machines with a libvirtd that this machine may have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from moorage.local.layout import Layout
from moorage.local.serve.dependencies import accepts
from moorage.local.waiting import until
from moorage.model.errors import TimedOut

FOLDERS = {
    "etc": Path("/etc/libvirt"),
    "lib": Path("/var/lib/libvirt"),
    "cache": Path("/var/cache/libvirt"),
    "log": Path("/var/log/libvirt"),
    "run": Path("/run/libvirt"),
}
PROGRAM = "/usr/sbin/libvirtd"
EMULATOR = "/usr/bin/qemu-system-x86_64"
USER = "libvirt-qemu"
ACCOUNTS = {"passwd": f"{USER}:x:64055:64055::/:/usr/sbin/nologin", "group": f"{USER}:x:64055:"}
"""Debian's libvirt does not start without this user, which only its package with systemd units creates."""
SHUTDOWN_TIMEOUT = 120.0
END_TIMEOUT = 30.0


def command(layout: Layout) -> tuple[str, ...]:
    """The supervised command; it needs OVS_RUNDIR, because libvirt calls `ovs-vsctl`."""
    namespace = ("unshare", "--mount", "--propagation", "slave")
    folders = (str(layout.libvirt), str(layout.libvirt_run))
    return (*namespace, sys.executable, "-m", "moorage.local.vm.daemon", PROGRAM, *folders)


def write_configuration(layout: Layout) -> None:
    """Write the configuration of libvirtd and QEMU; only root has access."""
    folder = layout.libvirt / "etc"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    daemon = {"unix_sock_dir": layout.libvirt_run, "unix_sock_rw_perms": "0700", "auth_unix_rw": "none"}
    (folder / "libvirtd.conf").write_text("".join(f'{name} = "{value}"\n' for name, value in daemon.items()))
    (folder / "qemu.conf").write_text(QEMU)


QEMU = """\
# Only root can read this cloud's folders. QEMU gets no capability of root, and a filter of its system calls.
user = "root"
group = "root"
dynamic_ownership = 0
clear_emulator_capabilities = 1
seccomp_sandbox = 1
security_driver = "none"
cgroup_controllers = []
namespaces = []
# No virtlogd: QEMU writes the console's log.
stdio_handler = "file"
"""


def virt_type() -> str:
    """`kvm` where the processor virtualizes, else `qemu`; a paravirtual /dev/kvm does not run unmodified kernels."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return "kvm" if Path("/dev/kvm").exists() and flags & {"vmx", "svm"} else "qemu"


def stop_machines(layout: Layout, report: Callable[[str], None]) -> None:
    """Shut down every virtual machine, and end those that do not, or that a dead libvirtd left; disks are kept."""
    if not layout.has_vms:
        return
    if accepts(layout.libvirt_socket):
        _shut_down(layout, report)
    for pid in _remaining(layout):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        until(lambda: not _remaining(layout), END_TIMEOUT, "QEMU does not end")
    except TimeoutError as error:
        raise TimedOut(str(error), "moorage cloud down again, or end its processes by hand") from error


def _shut_down(layout: Layout, report: Callable[[str], None]) -> None:
    """Best effort: what still runs afterwards is killed."""
    try:
        import libvirt
    except ImportError:
        return
    libvirt.registerErrorHandler(lambda *_: None, None)
    with (
        suppress(libvirt.libvirtError),
        closing(libvirt.open(f"qemu:///system?socket={layout.libvirt_socket}")) as connection,
    ):
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            with suppress(libvirt.libvirtError):
                domain.shutdown()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT
        while (number := connection.numOfDomains()) and time.monotonic() < deadline:
            report(f"waiting for {number} virtual machine{'s'[: number > 1]} to shut down")
            time.sleep(1)


def _remaining(layout: Layout) -> list[int]:
    """The pids of the QEMU processes, which libvirt writes to files."""
    pids = []
    for file in (layout.libvirt_run / "run/qemu").glob("*.pid"):
        with suppress(OSError):  # libvirtd deletes the file of a machine that has ended
            if (text := file.read_text().strip()).isdigit():
                pids.append(int(text))
    return [pid for pid in pids if _is_qemu(pid)]


def _is_qemu(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name == Path(EMULATOR).name
    except OSError:
        return False


def main(program: str, state: Path, run: Path) -> None:
    """Mount the folders, and exec libvirtd."""
    for name, place in FOLDERS.items():
        own = (run if name == "run" else state) / name
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.exists():
            place.mkdir(parents=True)
            place.chmod(0o755)  # as the packages of Debian that may use it later expect
        _bind(own, place)
    for name, line in ACCOUNTS.items():
        _bind(_with_account(Path("/etc", name), line, run), Path("/etc", name))
    configuration = FOLDERS["etc"] / "libvirtd.conf"
    os.execv(program, [program, "--config", str(configuration), "--pid-file", str(run / "libvirtd.pid")])


def _with_account(file: Path, line: str, folder: Path) -> Path:
    """A copy of a file of accounts with one more, unless it has it."""
    accounts = file.read_text().splitlines()
    if not any(account.startswith(f"{USER}:") for account in accounts):
        accounts.append(line)
    copy = folder / file.name
    copy.write_text("".join(f"{account}\n" for account in accounts))
    return copy


def _bind(source: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
