"""What a machine lacks for the local cloud, and how to fix it. Pure: from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moorage.local.facts import PROGRAMS, VM_PROGRAMS, Facts
from moorage.local.layout import EXTERNAL_CIDR

GIB = 1024**3
DISK_NEEDED = 5 * GIB
DISK_RECOMMENDED = 20 * GIB
SOFTWARE = ("packages", "python")
MEMORY_NEEDED = 2 * GIB
MEMORY_RECOMMENDED = 6 * GIB


@dataclass(frozen=True)
class Finding:
    """One problem. A `fatal` one keeps the cloud from starting; with others it runs, with limits."""

    subject: str
    problem: str
    fix: str
    fatal: bool = True


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order in which to fix them; empty when all is well."""
    return [
        *_check_machine(facts),
        *_check_software(facts),
        *_check_kernel(facts),
        *_check_conflicts(facts),
        *_check_resources(facts),
    ]


def _check_machine(facts: Facts) -> Iterator[Finding]:
    if not facts.root:
        yield Finding("root", "the cloud creates namespaces, mounts and bridges", "run it as root: sudo -E …")
    if facts.architecture != "x86_64":
        yield Finding("architecture", f"this machine is {facts.architecture}", "use an x86_64 machine")


def _check_software(facts: Facts) -> Iterator[Finding]:
    if facts.programs_missing:
        packages = sorted({(PROGRAMS | VM_PROGRAMS)[name] for name in facts.programs_missing})
        yield Finding(
            "packages",
            f"not found: {', '.join(facts.programs_missing)}",
            f"apt-get install {' '.join(packages)}",
        )
    if facts.packages_missing:
        yield Finding(
            "python",
            f"not installed: {', '.join(facts.packages_missing)}",
            "uv sync --extra local --extra vm (or: make setup)",
        )


def _check_kernel(facts: Facts) -> Iterator[Finding]:
    for name in facts.filesystems_missing:
        yield Finding("kernel", f"no file system {name}", f"modprobe {name}, or use a kernel that has it")
    if facts.namespaces_missing:
        yield Finding("kernel", f"no namespaces: {', '.join(facts.namespaces_missing)}", "use a kernel with them")
    if facts.controllers_missing:
        yield Finding(
            "kernel",
            f"no cgroup controllers: {', '.join(facts.controllers_missing)}",
            "enable them on the kernel's command line: cgroup_enable=memory",
        )
    fixes = {
        "/dev/loop-control": "modprobe loop",
        "/dev/net/tun": "modprobe tun",
        "/dev/fuse": "modprobe fuse",
    }
    for device in facts.devices_missing:
        yield Finding("device", f"no {device}", fixes[device], fatal=device != "/dev/fuse")
    if not facts.netfilter:
        yield Finding("kernel", "no nftables", "modprobe nf_tables, or use a kernel that has it")


def _check_conflicts(facts: Facts) -> Iterator[Finding]:
    for port, name in facts.ports_taken.items():
        yield Finding("port", f"{port}, which {name} needs, is in use", f"find the program: ss -lntp sport = :{port}")
    for bridge in facts.bridges_taken:
        yield Finding(
            "bridge",
            f"{bridge} exists already, and is not Moorage's",
            "if this machine's own Open vSwitch created it: systemctl disable --now openvswitch-switch ovn-host",
        )
    if facts.subnet_users:
        yield Finding(
            "address",
            f"{', '.join(facts.subnet_users)} has an address in the external network, {EXTERNAL_CIDR}",
            "give that interface another address while the cloud runs",
        )


def _check_resources(facts: Facts) -> Iterator[Finding]:
    if facts.disk_free < DISK_RECOMMENDED:
        yield Finding(
            "disk",
            f"{facts.disk_free / GIB:.1f} GiB free below {facts.disk_path}; "
            f"at least {DISK_NEEDED // GIB} are needed, {DISK_RECOMMENDED // GIB} are recommended",
            "free some space, or set MOORAGE_STATE to a folder with more",
            fatal=facts.disk_free < DISK_NEEDED,
        )
    if facts.memory_available < MEMORY_RECOMMENDED:
        yield Finding(
            "memory",
            f"{facts.memory_available / GIB:.1f} GiB available; "
            "the cloud alone needs 1.5, with a cluster of three nodes 4",
            "stop programs that use memory, or use a larger machine",
            fatal=facts.memory_available < MEMORY_NEEDED,
        )
