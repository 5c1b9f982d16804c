"""A machine container's specification, and its paths."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

SPEC = "machine.json"


@dataclass(frozen=True)
class Nic:
    """A network interface: `tap` is its end on the host, plugged into the switch for the Neutron port `port`."""

    port: str
    mac: str
    mtu: int
    name: str

    @property
    def tap(self) -> str:
        """Nova's and Neutron's name for the host's end; an interface name has at most 15 characters."""
        return f"tap{self.port[:11]}"


@dataclass(frozen=True)
class Volume:
    """A volume attached as `device` (`vdb`); `path` is its file."""

    id: str
    path: str
    device: str

    @property
    def serial(self) -> str:
        """The serial that virtio shows in /dev/disk/by-id: the first 20 characters of the id."""
        return self.id[:20]


@dataclass(frozen=True)
class Machine:
    """A server as a machine container. `memory` in MiB, `disk` in GiB.

    `folder` has its disk, boot partition, config drive and console.
    """

    id: str
    hostname: str
    folder: str
    version: str
    cpus: int
    memory: int
    disk: int
    cgroup_parent: str
    nics: tuple[Nic, ...] = ()
    volumes: tuple[Volume, ...] = field(default=())

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def namespace(self) -> str:
        """The name of the machine's network namespace."""
        return f"moorage-{self.id}"

    @property
    def boot(self) -> Path:
        return self.path / "boot"

    @property
    def disk_file(self) -> Path:
        return self.path / "disk.img"

    @property
    def config_drive(self) -> Path:
        return self.path / "config-drive"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def process(self) -> Path:
        """The file in which the monitor writes pid and start time of the machine's PID 1."""
        return self.path / "process.json"

    @property
    def slots(self) -> Path:
        """The mount points of all machines' slots, one folder for each inode."""
        return self.path.parent / ".slots"

    def save(self) -> None:
        """Write the specification into the machine's folder, atomically."""
        partial = self.path / f"{SPEC}.new"
        partial.write_text(json.dumps(asdict(self), indent=2))
        partial.rename(self.path / SPEC)


def load(folder: Path) -> Machine:
    """Read a machine from its folder; FileNotFoundError when there is none."""
    values = json.loads((folder / SPEC).read_text())
    values["nics"] = tuple(Nic(**nic) for nic in values["nics"])
    values["volumes"] = tuple(Volume(**volume) for volume in values["volumes"])
    return Machine(**values)


def load_all(state: Path) -> list[Machine]:
    """Read every machine below the driver's state folder."""
    return [load(path.parent) for path in sorted(state.glob(f"*/{SPEC}"))]
