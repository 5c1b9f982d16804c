"""The port `Host` in memory, for tests that need neither root nor Linux."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moorage.host.port import Cgroup, HostError, Port, VethPair


@dataclass
class MemoryHost:
    """A host that keeps its state. `running` are the pids in each cgroup: a test may add some."""

    held: dict[Path, str] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)
    cables: dict[str, tuple[VethPair, str]] = field(default_factory=dict)
    plugged: dict[str, Port] = field(default_factory=dict)
    limits: dict[Cgroup, tuple[int, int]] = field(default_factory=dict)
    running: dict[Cgroup, set[int]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is left on the host."""
        return not (self.held or self.inner or self.cables or self.plugged or self.limits)

    def loops(self, file: Path) -> list[str]:
        return [self.held[file]] if file in self.held else []

    def attach_loop(self, file: Path) -> None:
        if not file.exists():
            raise HostError(f"losetup: {file}: No such file or directory")
        free = next(name for number in range(4096) if (name := f"/dev/loop{number}") not in self.held.values())
        self.held.setdefault(file, free)

    def detach_loop(self, file: Path) -> None:
        self.held.pop(file, None)

    def grow_loop(self, file: Path) -> None:
        """Sizes are not kept here."""

    def namespaces(self) -> set[str]:
        return set(self.inner)

    def add_namespace(self, name: str) -> None:
        self.inner.add(name)

    def remove_namespace(self, name: str) -> None:
        self.inner.discard(name)
        self.cables = {key: cable for key, cable in self.cables.items() if cable[1] != name}

    def links(self) -> set[str]:
        return {"lo", *self.cables}

    def add_veth_pair(self, pair: VethPair, namespace: str) -> None:
        if namespace not in self.inner:
            raise HostError(f"ip: there is no network namespace {namespace}")
        if any(inside == namespace and other.peer == pair.peer for other, inside in self.cables.values()):
            if pair.name in self.cables:
                return
            raise HostError(f"ip: {pair.peer} exists in {namespace}")
        self.cables[pair.name] = (pair, namespace)

    def remove_link(self, name: str) -> None:
        self.cables.pop(name, None)

    def ports(self) -> set[str]:
        return set(self.plugged)

    def plug(self, port: Port) -> None:
        known = self.plugged.get(port.name, Port(port.name))
        self.plugged[port.name] = Port(port.name, known.ids | port.ids)

    def unplug(self, name: str) -> None:
        self.plugged.pop(name, None)

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
