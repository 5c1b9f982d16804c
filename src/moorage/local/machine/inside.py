"""Between fork and systemd: the child becomes the machine's PID 1 in its own namespaces.

Nothing here is undone on failure: every mount is in the machine's own mount namespace and disappears with it.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import NoReturn

from moorage.host import kernel
from moorage.local.machine import interfaces
from moorage.local.machine.host import loops
from moorage.local.machine.host.cgroups import LEGACY, ControlGroup
from moorage.local.machine.host.linux import NAMESPACES
from moorage.local.machine.spec import Machine, Volume

INIT = "/lib/systemd/systemd"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse", "kmsg", "net/tun")
READ_ONLY = ("sysrq-trigger",)
"""Files of /proc that affect the whole host, whichever process writes to them."""


def start_init(machine: Machine, image: Path, slot: str, terminal: int) -> NoReturn:
    """Enter the machine's namespaces, assemble its root, and exec systemd. Never returns."""
    ControlGroup(machine.cgroup_parent, machine.id).enter()
    kernel.setns(NAMESPACES / machine.namespace, kernel.NEWNET)
    interfaces.reset(machine.nics)
    kernel.unshare(kernel.NEWNS | kernel.NEWUTS | kernel.NEWIPC | kernel.NEWCGROUP)
    os.umask(0o022)  # a server must not inherit the service's umask
    _set_hostname(machine.hostname)
    kernel.mount("", "/", flags=kernel.PRIVATE | kernel.REC)
    root = machine.path / "root"
    root.mkdir(exist_ok=True)
    kernel.bind(image, root)
    _mount_state(machine, root)
    _mount_kernel(root)
    _create_devices(machine, root, terminal)
    _mount_run(machine, root, slot)
    _mount_cgroups(machine, root)
    _pivot_root(root)
    os.setsid()
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    environment = {"container": "moorage", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb"}
    os.execve(INIT, [INIT, "--show-status=no", "--log-level=warning", "--log-target=console"], environment)


def _set_hostname(name: str) -> None:
    import socket

    socket.sethostname(name)


def _mount_state(machine: Machine, root: Path) -> None:
    """Mount /var from the disk, /etc as an overlay stored there, /boot from the boot partition."""
    subprocess.run(["mount", "-o", "loop", str(machine.disk_file), str(root / "var")], check=True)
    layers = root / "var/lib/moorage-etc"
    for name in ("upper", "work"):
        (layers / name).mkdir(parents=True, exist_ok=True)
    overlay = f"lowerdir={root}/etc,upperdir={layers}/upper,workdir={layers}/work"
    kernel.mount("overlay", root / "etc", "overlay", options=overlay)
    kernel.bind(machine.boot, root / "boot")


def _mount_kernel(root: Path) -> None:
    """Mount /proc, /sys, /tmp and /dev. /sys is read-only so that no program waits for udev."""
    kernel.mount("proc", root / "proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    kernel.mount("sysfs", root / "sys", "sysfs", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC | kernel.RDONLY)
    for name in READ_ONLY:
        file = root / "proc" / name
        if file.exists():
            kernel.bind(file, file, read_only=True)
    for name in ("tmp", "dev"):
        kernel.mount("tmpfs", root / name, "tmpfs", kernel.NOSUID, "mode=755" if name == "dev" else "mode=1777")


def _create_devices(machine: Machine, root: Path, terminal: int) -> None:
    dev = root / "dev"
    for name in DEVICES:
        source, target = Path("/dev") / name, dev / name
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            target.touch()
            kernel.bind(source, target)
    for name, kind, flags, options in (
        ("pts", "devpts", kernel.NOSUID | kernel.NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("shm", "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=1777"),
        ("mqueue", "mqueue", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC, ""),
    ):
        (dev / name).mkdir()
        kernel.mount(kind, dev / name, kind, flags, options)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, to in links.items():
        (dev / name).symlink_to(to)
    (dev / "console").touch()
    kernel.bind(os.ttyname(terminal), dev / "console")
    for volume in machine.volumes:
        make_device(dev, volume, loops.number(volume.path))


def make_device(dev: Path, volume: Volume, device: int) -> None:
    """Show a volume in a machine's /dev: as `vdb`, and by its serial as virtio does."""
    node = dev / volume.device
    node.unlink(missing_ok=True)
    os.mknod(node, stat.S_IFBLK | 0o660, device)
    by_id = dev / "disk" / "by-id"
    by_id.mkdir(parents=True, exist_ok=True)
    link = by_id / f"virtio-{volume.serial}"
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../{volume.device}")


def remove_device(dev: Path, volume: Volume) -> None:
    """Remove a volume from a machine's /dev."""
    for path in (dev / volume.device, dev / "disk" / "by-id" / f"virtio-{volume.serial}"):
        path.unlink(missing_ok=True)


def _mount_run(machine: Machine, root: Path, slot: str) -> None:
    run = root / "run"
    kernel.mount("tmpfs", run, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755")
    for name in ("moorage", "config-drive", "old"):
        (run / name).mkdir()
    (run / "moorage" / "boot-slot").write_text(f"{slot}\n")
    if machine.config_drive.exists():
        kernel.bind(machine.config_drive, run / "config-drive", read_only=True)
    memory = run / "moorage" / "meminfo"
    memory.write_text(meminfo(machine.memory))
    kernel.bind(memory, root / "proc/meminfo", read_only=True)


def meminfo(mebibytes: int) -> str:
    """The content of /proc/meminfo for this much memory, for programs that do not read the cgroup's limit."""
    kib = mebibytes * 1024
    lines = {"MemTotal": kib, "MemFree": kib, "MemAvailable": kib, "Buffers": 0, "Cached": 0, "SwapCached": 0}
    lines |= {"SwapTotal": 0, "SwapFree": 0}
    return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in lines.items())


def _mount_cgroups(machine: Machine, root: Path) -> None:
    """Mount the host's hierarchies; in the new cgroup namespace the machine's own group is the root."""
    target = root / "sys/fs/cgroup"
    group = ControlGroup(machine.cgroup_parent, machine.id)
    flags = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
    if group.unified:
        kernel.mount("cgroup2", target, "cgroup2", flags)
        return
    kernel.mount("tmpfs", target, "tmpfs", flags, "mode=755")
    present = {hierarchy.name for hierarchy in group.hierarchies}
    for name in LEGACY:
        if name in present:
            (target / name).mkdir()
            options = "none,name=systemd" if name == "systemd" else name
            if name == "unified":
                kernel.mount("cgroup2", target / name, "cgroup2", flags)
            else:
                kernel.mount("cgroup", target / name, "cgroup", flags, options)


def _pivot_root(root: Path) -> None:
    os.chdir(root)
    kernel.pivot_root(root, root / "run/old")
    os.chdir("/")
    kernel.mount("", "/", flags=kernel.SHARED | kernel.REC)
    kernel.detach("/run/old")
    os.rmdir("/run/old")
