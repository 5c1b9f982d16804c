"""The port `Host` in memory, for tests without root and without Linux."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moorage.host.run import HostError
from moorage.local.machine.host.port import Cgroup, Port, VethPair


@dataclass
class MemoryHost:
    """A host that keeps its state. `running` are the pids in each cgroup: a test may add some."""

    loop_devices: dict[Path, str] = field(default_factory=dict)
    named_namespaces: set[str] = field(default_factory=set)
    veth_pairs: dict[str, tuple[VethPair, str]] = field(default_factory=dict)
    switch_ports: dict[str, Port] = field(default_factory=dict)
    limits: dict[Cgroup, tuple[int, int]] = field(default_factory=dict)
    running: dict[Cgroup, set[int]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the host has no loop devices, namespaces, interfaces, switch ports or cgroups."""
        return not (self.loop_devices or self.named_namespaces or self.veth_pairs or self.switch_ports or self.limits)

    def loops(self, file: Path) -> list[str]:
        return [self.loop_devices[file]] if file in self.loop_devices else []

    def attach_loop(self, file: Path) -> None:
        if not file.exists():
            raise HostError(f"losetup: {file}: No such file or directory")
        free = next(name for number in range(4096) if (name := f"/dev/loop{number}") not in self.loop_devices.values())
        self.loop_devices.setdefault(file, free)

    def detach_loop(self, file: Path) -> None:
        self.loop_devices.pop(file, None)

    def grow_loop(self, file: Path) -> None:
        """Sizes are not kept here."""

    def namespaces(self) -> set[str]:
        return set(self.named_namespaces)

    def add_namespace(self, name: str) -> None:
        self.named_namespaces.add(name)

    def remove_namespace(self, name: str) -> None:
        self.named_namespaces.discard(name)
        self.veth_pairs = {key: pair for key, pair in self.veth_pairs.items() if pair[1] != name}

    def links(self) -> set[str]:
        return {"lo", *self.veth_pairs}

    def add_veth_pair(self, pair: VethPair, namespace: str) -> None:
        if namespace not in self.named_namespaces:
            raise HostError(f"ip: there is no network namespace {namespace}")
        if any(inside == namespace and other.peer == pair.peer for other, inside in self.veth_pairs.values()):
            if pair.name in self.veth_pairs:
                return
            raise HostError(f"ip: {pair.peer} exists in {namespace}")
        self.veth_pairs[pair.name] = (pair, namespace)

    def remove_link(self, name: str) -> None:
        self.veth_pairs.pop(name, None)

    def ports(self) -> set[str]:
        return set(self.switch_ports)

    def plug(self, port: Port) -> None:
        existing = self.switch_ports.get(port.name, Port(port.name))
        self.switch_ports[port.name] = Port(port.name, existing.ids | port.ids)

    def unplug(self, name: str) -> None:
        self.switch_ports.pop(name, None)

    def add_cgroup(self, group: Cgroup, cpus: int, memory: int) -> None:
        self.limits[group] = (cpus, memory)

    def cgroups(self, parent: str) -> set[str]:
        return {group.name for group in self.limits if group.parent == parent}

    def processes(self, group: Cgroup) -> set[int]:
        return set(self.running.get(group, ()))

    def remove_cgroup(self, group: Cgroup) -> None:
        if self.processes(group):
            raise HostError(f"{group.parent}/{group.name} is still in use")
        self.limits.pop(group, None)
