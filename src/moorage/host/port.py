"""The port: what a machine container holds of the box that it runs on.

Every method can be repeated: what is there is not made again, and what is gone is no error. Anything else raises
`HostError` with what the box said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class HostError(Exception):
    """What the box refused: a program that ended with an error, say. The message holds the command and what it said."""


@dataclass(frozen=True)
class VethPair:
    """A virtual cable: `name` is its end on the host, `peer` the one in a namespace, with `mac` and `mtu`."""

    name: str
    peer: str
    mac: str
    mtu: int


@dataclass(frozen=True)
class Cgroup:
    """A control group `<parent>/<name>`."""

    parent: str
    name: str


@dataclass(frozen=True)
class Port:
    """A cable's end in the switch; `ids` tell the switch's controller what it is (`iface-id`: the Neutron port)."""

    name: str
    ids: dict[str, str] = field(default_factory=dict)


class Host(Protocol):
    """A Linux box with one switch."""

    def loops(self, file: Path) -> list[str]:
        """The loop devices behind which a file stands."""

    def attach_loop(self, file: Path) -> None:
        """Give a file a loop device."""

    def detach_loop(self, file: Path) -> None:
        """Release a file's loop devices, once nobody has them open."""

    def grow_loop(self, file: Path) -> None:
        """Let a file's loop device see the file's new size."""

    def namespaces(self) -> set[str]:
        """The network namespaces that have a name."""

    def add_namespace(self, name: str) -> None:
        """Make a network namespace with its loopback up."""

    def remove_namespace(self, name: str) -> None:
        """Remove a network namespace.

        The cables that lead into it go too, but a moment later: Linux takes them down when it gets to it.
        """

    def links(self) -> set[str]:
        """The host's own interfaces."""

    def add_veth_pair(self, pair: VethPair, namespace: str) -> None:
        """Lay a cable into a namespace, whole: no checksum is left to hardware that the switch does not have."""

    def remove_link(self, name: str) -> None:
        """Remove one of the host's interfaces, with the cable's other end."""

    def ports(self) -> set[str]:
        """What is plugged into the switch."""

    def plug(self, port: Port) -> None:
        """Plug an interface into the switch, or tell the switch again what it is."""

    def unplug(self, name: str) -> None:
        """Take an interface out of the switch."""

    def add_cgroup(self, group: Cgroup, cpus: int, memory: int) -> None:
        """Make a control group that may use `cpus` CPUs and `memory` MiB; sets the limits of one that is there."""

    def cgroups(self, parent: str) -> set[str]:
        """The names of the control groups below `parent`."""

    def processes(self, group: Cgroup) -> set[int]:
        """What runs in a control group, at any depth."""

    def remove_cgroup(self, group: Cgroup) -> None:
        """Remove a control group, and its parent when that was the last; raises when something runs in it."""
