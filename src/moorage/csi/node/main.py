"""`moorage-csi-node`: the node part of the driver, for the node's kubelet."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import click

from moorage import __version__
from moorage.csi.backend import Attacher
from moorage.csi.identity import Identity
from moorage.csi.node.registration import Registration, Sockets
from moorage.csi.node.service import Node
from moorage.csi.serve import serve
from moorage.csi.spec import csi_pb2_grpc, pluginregistration_pb2_grpc
from moorage.host.filesystems import Filesystems
from moorage.host.signals import stop_on_sigterm

BY_ID = Path("/dev/disk/by-id")
ROOT = Path("/var/lib/kubelet")
LIMIT = 25
"""Volumes for the names vdb to vdz. Some clouds allow fewer: QEMU's q35 has as many as free PCIe ports."""
GRACE = 20.0  # seconds for running calls at the end
FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Adapters:
    """The driver: its name, the key of zones in nodes' topology, and its adapters.

    `attacher` gets the folder where udev names disks by serial.
    """

    name: str
    topology: str
    files: Filesystems
    attacher: Callable[[Path], Attacher]


@dataclass
class Run:
    """The driver's run: `stop` ends it, `failure` is the reason why it failed."""

    report: Callable[[str], None]
    stop: Event
    failure: str = ""

    def report_result(self, error: str) -> None:
        """Report the kubelet's result and stop after a rejection.

        The kubelet registers only new sockets, so systemd must restart the program.
        """
        self.report(f"the kubelet rejected the driver: {error}" if error else "registered with the kubelet")
        if error:
            self.failure = error
            self.stop.set()

    def serve_until_stopped(self, node: Node, name: str, sockets: Sockets) -> int:
        """Serve CSI, then the registration; returns the program's exit code."""
        servers = [serve(sockets.driver, lambda server: add_services(server, node, name))]
        registration = Registration(name, sockets.driver, self.report_result)
        servers.append(
            serve(
                sockets.registration,
                lambda server: pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(registration, server),
            )
        )
        self.report(f"serving {name} for server {node.node_id} at {sockets.driver}")
        self.stop.wait()
        for stopping in [server.stop(GRACE) for server in reversed(servers)]:
            stopping.wait()
        return os.EX_TEMPFAIL if self.failure else os.EX_OK


def add_services(server: Any, node: Node, name: str) -> None:
    """Add the driver's node services to a server."""
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(name, __version__, lambda: True), server)
    csi_pb2_grpc.add_NodeServicer_to_server(node, server)


@click.command(name="moorage-csi-node")
@click.option("--node-id", envvar="SERVER_ID", required=True, help="The id of this node's server.")
@click.option(
    "--zone", envvar="SERVER_ZONE", default="", help="The server's availability zone; without it, volumes of any zone."
)
@click.option(
    "--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="The maximum number of volumes."
)
@click.option("--kubelet", default=ROOT, show_default=True, type=FOLDER, help="The kubelet's folder.")
@click.option(
    "--by-id", default=BY_ID, show_default=True, type=FOLDER, help="The folder where udev names disks by serial."
)
@click.pass_obj
def command(adapters: Adapters, node_id: str, zone: str, limit: int, kubelet: Path, by_id: Path) -> int:
    """Mount attached volumes for pods of this node. Needs root, and no access to the cloud.

    systemd decides by the exit code whether to restart it.
    """
    run = Run(lambda line: click.echo(line, err=True), stop_on_sigterm())
    node = Node(adapters.files, adapters.attacher(by_id), node_id, zone, adapters.topology, limit)
    return run.serve_until_stopped(node, adapters.name, Sockets.below(kubelet, adapters.name))
