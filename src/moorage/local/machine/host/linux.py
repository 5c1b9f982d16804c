"""The port `Host` on this machine: iproute2, util-linux, Open vSwitch's tools and the cgroup files."""

from __future__ import annotations

import socket
from pathlib import Path

from moorage.host.run import run
from moorage.local.machine.host import loops
from moorage.local.machine.host.cgroups import ControlGroup
from moorage.local.machine.host.port import Cgroup, Port, VethPair

NAMESPACES = Path("/run/netns")


class LinuxHost:
    """This host. `database` and `bridge` name its Open vSwitch; `datapath` is `system` or `netdev` (userspace)."""

    def __init__(self, database: str = "", bridge: str = "br-int", datapath: str = "netdev") -> None:
        self.database = database
        self.bridge = bridge
        self.datapath = datapath

    def loops(self, file: Path) -> list[str]:
        return loops.devices(file)

    def attach_loop(self, file: Path) -> None:
        loops.attach(file)

    def detach_loop(self, file: Path) -> None:
        loops.detach(file)

    def grow_loop(self, file: Path) -> None:
        loops.grow(file)

    def namespaces(self) -> set[str]:
        return {path.name for path in NAMESPACES.iterdir()} if NAMESPACES.exists() else set()

    def add_namespace(self, name: str) -> None:
        if not (NAMESPACES / name).exists():
            run("ip", "netns", "add", name)
            run("ip", "-netns", name, "link", "set", "lo", "up")

    def remove_namespace(self, name: str) -> None:
        if (NAMESPACES / name).exists():
            run("ip", "netns", "delete", name)

    def links(self) -> set[str]:
        return {name for _, name in socket.if_nameindex()}

    def add_veth_pair(self, pair: VethPair, namespace: str) -> None:
        if pair.name in self.links():
            return
        batch = (
            f"link add {pair.name} mtu {pair.mtu} type veth"
            f" peer name {pair.peer} netns {namespace} address {pair.mac} mtu {pair.mtu}\n"
            f"link set {pair.name} up\n"
        )
        run("ip", "-batch", "-", stdin=batch)
        if self.datapath == "netdev":
            run("ip", "netns", "exec", namespace, "ethtool", "-K", pair.peer, "tx", "off")

    def remove_link(self, name: str) -> None:
        if name in self.links():
            run("ip", "link", "delete", name)

    def ports(self) -> set[str]:
        return set(self._vsctl("list-ports", self.bridge).split())

    def plug(self, port: Port) -> None:
        values = [f'external_ids:{key}="{value}"' for key, value in sorted(port.ids.items())]
        settings = ["--", "set", "Interface", port.name, *values] if values else []
        self._vsctl("--may-exist", "add-port", self.bridge, port.name, *settings)

    def unplug(self, name: str) -> None:
        self._vsctl("--if-exists", "del-port", self.bridge, name)

    def _vsctl(self, *arguments: str) -> str:
        return run("ovs-vsctl", "--timeout=30", "--no-wait", f"--db={self.database}", *arguments)

    def add_cgroup(self, group: Cgroup, cpus: int, memory: int) -> None:
        ControlGroup(group.parent, group.name).create(cpus, memory)

    def cgroups(self, parent: str) -> set[str]:
        folders = [hierarchy / parent for hierarchy in ControlGroup(parent, "").hierarchies]
        return {path.name for folder in folders if folder.exists() for path in folder.iterdir() if path.is_dir()}

    def processes(self, group: Cgroup) -> set[int]:
        return ControlGroup(group.parent, group.name).processes()

    def remove_cgroup(self, group: Cgroup) -> None:
        ControlGroup(group.parent, group.name).remove()
