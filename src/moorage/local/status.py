"""The programs' addresses, health, versions and memory."""

from __future__ import annotations

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from moorage.local import health
from moorage.local.layout import GATEWAY, Layout
from moorage.local.programs import REGISTRY_PORT, Program
from moorage.local.services import SERVICES, Service
from moorage.local.supervisor import ProgramState

MIB = 2**20


@dataclass(frozen=True)
class Status:
    """`health` is `ready`, or the reason why not. `memory` in MiB: the process's proportional set size (PSS)."""

    name: str
    version: str
    address: str
    health: str
    memory: int
    pid: int


def status(layout: Layout, programs: list[Program], states: dict[str, ProgramState]) -> list[Status]:
    """One row for each program, in the order of the start."""
    with ThreadPoolExecutor(max_workers=len(programs)) as pool:
        return list(pool.map(lambda program: _check_program(layout, program, states.get(program.name)), programs))


def _check_program(layout: Layout, program: Program, process: ProgramState | None) -> Status:
    pid = process.pid if process and process.state == "RUNNING" else 0
    entry = next((entry for entry in SERVICES if entry.name == program.name), None)
    if not pid:
        state = f"{process.state.lower()}: {process.description}" if process else "stopped"
        return Status(program.name, "", _url(entry) if entry else "", state, 0, 0)
    memory = proportional_memory(pid)
    if entry:
        service_health = health.check(entry)
        return Status(
            program.name,
            service_health.version,
            _url(entry),
            "ready" if service_health.ready else service_health.reason,
            memory,
            pid,
        )
    address = _address(layout, program.name)
    state = "ready" if _accepts_connections(address) else "does not respond"
    return Status(program.name, _read_version(program.command), address, state, memory, pid)


def _url(entry: Service) -> str:
    """The endpoint, without the project's part."""
    return entry.url.partition("/%(")[0]


def _address(layout: Layout, name: str) -> str:
    sockets = {
        "mariadb": layout.mysql_socket,
        "ovsdb": layout.ovs_socket,
        "ovn-northbound": layout.northbound_socket,
        "ovn-southbound": layout.southbound_socket,
        "ovs-vswitchd": layout.ovs / "vswitchd.ctl",
        "ovn-northd": layout.ovs / "northd.ctl",
        "libvirtd": layout.libvirt_socket,
    }
    if name == "registry":
        return f"{GATEWAY}:{REGISTRY_PORT}"
    return f"unix:{sockets[name]}" if name in sockets else ""


def _accepts_connections(address: str) -> bool:
    """Whether a server accepts connections there; True for a program without an address, as its process runs."""
    if not address:
        return True
    family = socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET
    target: str | tuple[str, int] = address.removeprefix("unix:")
    if family == socket.AF_INET:
        host, _, port = address.rpartition(":")
        target = (host, int(port))
    with socket.socket(family) as client:
        client.settimeout(2)
        return client.connect_ex(target) == 0


def _read_version(command: tuple[str, ...]) -> str:
    """The first word with a digit and a dot in the program's version output."""
    program = next(
        (part for part in command if Path(part).name.startswith(("ov", "mariadbd", "registry", "libvirtd"))), command[0]
    )
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = (word.split("-")[0].lstrip("v") for word in output.split())
    return next((word for word in words if "." in word and word[0].isdigit()), "")


def proportional_memory(pid: int) -> int:
    """The proportional set size of one process in MiB; 0 when it has ended."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss // MIB)
    except psutil.Error:
        return 0
