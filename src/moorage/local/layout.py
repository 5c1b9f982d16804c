"""The paths of the local cloud, below its three folders."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

GATEWAY = "172.24.4.1"
EXTERNAL_CIDR = "172.24.4.0/24"
LOOPBACK = "127.0.0.1"
REGION = "RegionOne"
HOST = "moorage"
"""The cloud's host, as Nova, Neutron, Cinder and OVN know it; this machine's own name may change."""
VM_HOST = "moorage-vm"
"""Nova's second compute host, on the same machine: its servers are virtual machines."""


@dataclass(frozen=True)
class Layout:
    """`state` survives `down`; `run` has sockets and is created at every `up`; `cache` may be deleted at any time."""

    state: Path
    run: Path
    cache: Path

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def etc(self) -> Path:
        """Rendered configuration with passwords, one folder for each project."""
        return self.state / "etc"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets.json"

    @property
    def mysql(self) -> Path:
        return self.state / "mysql"

    @property
    def mysql_socket(self) -> Path:
        return self.run / "mysql.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def supervisor_pid(self) -> Path:
        return self.run / "supervisor.pid"

    @property
    def programs(self) -> Path:
        """The working folder of every supervised program, by which it is found."""
        return self.run / "programs"

    @property
    def ovs_databases(self) -> Path:
        return self.state / "ovn"

    @property
    def ovs(self) -> Path:
        """Sockets of Open vSwitch and OVN."""
        return self.run / "ovs"

    @property
    def ovs_socket(self) -> Path:
        return self.ovs / "db.sock"

    @property
    def northbound_socket(self) -> Path:
        return self.ovs / "nb.sock"

    @property
    def southbound_socket(self) -> Path:
        return self.ovs / "sb.sock"

    @property
    def machines(self) -> Path:
        """The machine driver's servers, one folder each."""
        return self.state / "machines"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def registry(self) -> Path:
        return self.state / "registry"

    @property
    def libvirt(self) -> Path:
        """libvirtd's own folders. They exist if the cloud offers virtual machines: see `has_vms`."""
        return self.state / "libvirt"

    @property
    def libvirt_run(self) -> Path:
        return self.run / "libvirt"

    @property
    def libvirt_socket(self) -> Path:
        return self.libvirt_run / "libvirt-sock"

    @property
    def has_vms(self) -> bool:
        """Whether the cloud offers virtual machines beside machine containers, once `up --with vm` was called."""
        return self.libvirt.is_dir()

    def data(self, project: str) -> Path:
        """Return the folder of a project's own state: images, locks, identities."""
        return self.state / project

    def database_url(self, database: str) -> str:
        """SQLAlchemy's URL; the server identifies the user by the socket's peer, so there is no password."""
        return f"mysql+mysqldb://root@localhost/{database}?unix_socket={self.mysql_socket}&charset=utf8mb3"

    def folders(self) -> tuple[Path, ...]:
        """List the folders that must exist before any program starts."""
        return (
            self.state,
            self.run,
            self.programs,
            self.log,
            self.etc,
            self.ovs_databases,
            self.ovs,
            self.machines,
            self.volumes,
            self.registry,
        )

    def create_folders(self) -> None:
        """Create the folders, readable by root only."""
        for folder in self.folders():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def packaged_etc(project: str) -> Path:
    """The files that a project's wheel installs in the environment (paste pipelines and the like)."""
    return Path(sys.prefix) / "etc" / project
