"""The supervised programs: MariaDB, Open vSwitch and OVN, the registry, and one process for each service."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from moorage.local import mariadb, ovn
from moorage.local.layout import GATEWAY, Layout
from moorage.local.services import SERVICES, Service
from moorage.local.vm import daemon

REGISTRY_PORT = 5080


@dataclass(frozen=True)
class Program:
    """One supervised process. `priority` orders the start (smallest first) and, reversed, the stop."""

    name: str
    command: tuple[str, ...]
    priority: int
    stop_seconds: int = 10
    environment: dict[str, str] = field(default_factory=dict)


def programs(layout: Layout, registry: Path | None) -> list[Program]:
    """Every program, in the order of its start; `registry` is the program of the release, if it exists."""
    sockets = {"OVS_RUNDIR": str(layout.ovs), "OVN_RUNDIR": str(layout.ovs)}
    supervised = [
        Program("mariadb", mariadb.command(layout.mysql, layout.mysql_socket, layout.run), 10, stop_seconds=60),
        Program("ovsdb", ovn.database_command(layout, "conf.db", layout.ovs_socket), 10),
        Program("ovn-northbound", ovn.database_command(layout, "nb.db", layout.northbound_socket), 10),
        Program("ovn-southbound", ovn.database_command(layout, "sb.db", layout.southbound_socket), 10),
        Program(
            "ovs-vswitchd",
            (sys.executable, "-m", "moorage.local.switch", *ovn.switch_command(layout)),
            20,
            environment=sockets,
        ),
        Program("ovn-northd", ovn.northd_command(layout), 30, environment=sockets),
        Program("ovn-controller", ovn.controller_command(layout), 30, environment=sockets),
    ]
    if layout.has_vms:
        supervised.append(Program("libvirtd", daemon.command(layout), 30))
    # Two cores: programs that others wait for, or that take longest, start first.
    order = ("keystone", "neutron", "nova", "heat", "placement", "cinder", "glance", "octavia")
    rank = {name: 40 + position for position, name in enumerate(order)}
    supervised += [_service_program(entry, layout, rank.get(entry.name, 60)) for entry in SERVICES]
    if registry:
        supervised.append(Program("registry", (str(registry), "serve", f"{layout.etc}/registry.yaml"), 70))
    return sorted(supervised, key=lambda program: program.priority)


def _service_program(entry: Service, layout: Layout, priority: int) -> Program:
    folders = ("--state", str(layout.state), "--run", str(layout.run), "--cache", str(layout.cache))
    return Program(
        entry.name,
        (sys.executable, "-m", "moorage.local.serve", entry.name, *folders),
        priority,
        # Many threads, few of them active: with two arenas glibc does not keep memory for each thread.
        environment={"MALLOC_ARENA_MAX": "2"},
    )


def registry_configuration(layout: Layout) -> str:
    """distribution's configuration: the gateway's address, blobs below the state folder, deletion allowed."""
    return f"""\
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: {layout.registry}
  delete:
    enabled: true
http:
  addr: {GATEWAY}:{REGISTRY_PORT}
"""
