"""The port for what a machine container uses of its host.

Every method can be repeated: existing objects are not created again, and missing ones are no error. Other failures
raise `HostError` with the program's output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class VethPair:
    """A veth pair: `name` is the interface on the host, `peer` the one in a namespace, with `mac` and `mtu`."""

    name: str
    peer: str
    mac: str
    mtu: int


@dataclass(frozen=True)
class Cgroup:
    """A cgroup `<parent>/<name>`."""

    parent: str
    name: str


@dataclass(frozen=True)
class Port:
    """A port of the switch; its external `ids` identify it to the switch's controller (`iface-id`: the Neutron
    port).
    """

    name: str
    ids: dict[str, str] = field(default_factory=dict)


class Host(Protocol):
    """A Linux host with one switch."""

    def loops(self, file: Path) -> list[str]:
        """The loop devices of a file."""

    def attach_loop(self, file: Path) -> None:
        """Attach a loop device to a file."""

    def detach_loop(self, file: Path) -> None:
        """Detach a file's loop devices, once no process has them open."""

    def grow_loop(self, file: Path) -> None:
        """Update a file's loop device to the file's new size."""

    def namespaces(self) -> set[str]:
        """The named network namespaces."""

    def add_namespace(self, name: str) -> None:
        """Create a network namespace with its loopback interface up."""

    def remove_namespace(self, name: str) -> None:
        """Delete a network namespace.

        Linux deletes the veth pairs that lead into it a moment later.
        """

    def links(self) -> set[str]:
        """The host's own interfaces."""

    def add_veth_pair(self, pair: VethPair, namespace: str) -> None:
        """Create a veth pair into a namespace, without checksum offloading, which the switch does not support."""

    def remove_link(self, name: str) -> None:
        """Delete one of the host's interfaces, with its peer."""

    def ports(self) -> set[str]:
        """The ports of the switch."""

    def plug(self, port: Port) -> None:
        """Add an interface to the switch, or set its ids again."""

    def unplug(self, name: str) -> None:
        """Remove an interface from the switch."""

    def add_cgroup(self, group: Cgroup, cpus: int, memory: int) -> None:
        """Create a cgroup with `cpus` CPUs and `memory` MiB, or set the limits of an existing one."""

    def cgroups(self, parent: str) -> set[str]:
        """The names of the cgroups below `parent`."""

    def processes(self, group: Cgroup) -> set[int]:
        """The processes in a cgroup, at any depth."""

    def remove_cgroup(self, group: Cgroup) -> None:
        """Delete a cgroup, and its parent when that was the last; raises when a process runs in it."""
