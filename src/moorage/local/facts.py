"""The facts about this machine that `doctor` judges. Observing changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from moorage.local import ovn
from moorage.local.layout import EXTERNAL_CIDR
from moorage.local.ovn import BRIDGES, EXTERNAL_BRIDGE
from moorage.local.programs import REGISTRY_PORT
from moorage.local.services import SERVICES

NETLINK_NETFILTER = 12
LISTEN = "0A"
# Program → Debian package.
PROGRAMS = {
    "mariadbd": "mariadb-server",
    "mariadb": "mariadb-client",
    "mariadb-install-db": "mariadb-server",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-common",
    "ovs-vswitchd": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "ovn-northd": "ovn-central",
    "ovn-nbctl": "ovn-common",
    "ovn-sbctl": "ovn-common",
    "ovn-controller": "ovn-host",
    "qemu-img": "qemu-utils",
    "mkfs.ext4": "e2fsprogs",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "losetup": "mount",
    "unshare": "util-linux",
}
VM_PROGRAMS = {
    "libvirtd": "libvirt-daemon",
    "qemu-system-x86_64": "qemu-system-x86",
    "xorrisofs": "xorriso",
    "libvirt_driver_qemu.so": "libvirt-daemon-driver-qemu",
}
VM_LIBRARIES = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver"
VM_PACKAGE = "libvirt-python"
FILESYSTEMS = ("overlay", "squashfs", "ext4")
NAMESPACES = ("mnt", "pid", "uts", "ipc", "net", "cgroup")
CONTROLLERS = ("cpu", "memory", "pids")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Facts:
    """`disk_free` and `memory_available` in bytes. `ports_taken` maps a port to the service that needs it.

    `subnet_users` are interfaces other than the cloud's with an address in the external network.
    """

    root: bool
    architecture: str
    programs_missing: tuple[str, ...]
    packages_missing: tuple[str, ...]
    filesystems_missing: tuple[str, ...]
    namespaces_missing: tuple[str, ...]
    controllers_missing: tuple[str, ...]
    devices_missing: tuple[str, ...]
    netfilter: bool
    ports_taken: dict[int, str]
    bridges_taken: tuple[str, ...]
    subnet_users: tuple[str, ...]
    disk_free: int
    disk_path: str
    memory_available: int


def observe(state: Path, started_before: bool, *, with_vms: bool = False) -> Facts:
    """Observe the machine. Ignore the ports and bridges of a cloud that was `started_before` (it runs, or it died)."""
    programs = PROGRAMS | (VM_PROGRAMS if with_vms else {})
    packages = {entry.name: entry.distribution for entry in SERVICES} | ({"libvirt": VM_PACKAGE} if with_vms else {})
    folder = next(parent for parent in (state, *state.parents) if parent.exists())
    return Facts(
        root=os.geteuid() == 0,
        architecture=os.uname().machine,
        programs_missing=tuple(
            p for p in programs if shutil.which(p, mode=os.F_OK, path=f"{SEARCH_PATH}:{VM_LIBRARIES}") is None
        ),
        packages_missing=tuple(name for module, name in packages.items() if find_spec(module) is None),
        filesystems_missing=tuple(name for name in FILESYSTEMS if not _has_filesystem(name)),
        namespaces_missing=tuple(name for name in NAMESPACES if not Path("/proc/self/ns", name).exists()),
        controllers_missing=tuple(name for name in CONTROLLERS if name not in _read_controllers()),
        devices_missing=tuple(d for d in ("/dev/loop-control", "/dev/net/tun", "/dev/fuse") if not _has_device(d)),
        netfilter=_has_netfilter(),
        ports_taken={} if started_before else ports_taken(),
        bridges_taken=() if started_before else tuple(b for b in BRIDGES if ovn.device_exists(b)),
        subnet_users=() if started_before else _find_subnet_users(),
        disk_free=shutil.disk_usage(folder).free,
        disk_path=str(folder),
        memory_available=psutil.virtual_memory().available,
    )


def _has_filesystem(name: str) -> bool:
    """In the kernel, or available as a module."""
    registered = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    return name in registered or _has_module(name)


def _has_module(name: str) -> bool:
    try:
        return subprocess.run(["modprobe", "--dry-run", "--quiet", name], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _has_device(path: str) -> bool:
    modules = {"/dev/loop-control": "loop", "/dev/net/tun": "tun", "/dev/fuse": "fuse"}
    return Path(path).exists() or _has_module(modules[path])


def _read_controllers() -> set[str]:
    """Return the cgroup controllers of either version; the header of /proc/cgroups begins with `#`."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        return set(unified.read_text().split())
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    return {row[0] for row in rows if row[3] == "1"}


def _has_netfilter() -> bool:
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER).close()
    except OSError:
        return False
    return True


def ports_taken() -> dict[int, str]:
    """The cloud's ports on which a program listens already, and the service that needs each."""
    required = {entry.port: entry.name for entry in SERVICES} | {REGISTRY_PORT: "registry"}
    listening = _listening_ports("tcp") | _listening_ports("tcp6")
    return {port: name for port, name in required.items() if port in listening}


def _listening_ports(table: str) -> set[int]:
    """Ports on which a program listens; columns of the kernel's table are address:port (hexadecimal) and state."""
    rows = (line.split() for line in Path("/proc/thread-self/net", table).read_text().splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTEN}


def _find_subnet_users() -> tuple[str, ...]:
    output = subprocess.run(
        ["ip", "-oneline", "-4", "address", "show", "to", EXTERNAL_CIDR], capture_output=True, text=True
    ).stdout
    interfaces = {line.split()[1] for line in output.splitlines()}
    return tuple(sorted(interfaces - {"lo", EXTERNAL_BRIDGE}))
