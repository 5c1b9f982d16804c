"""Arguments and composition of `moorage-csi-controller`; the bootstrap supplies the adapters."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from moorage import __version__
from moorage.cloud.port.volumes import Volumes
from moorage.csi.cinder.backend import NAME, TOPOLOGY, CinderBackend
from moorage.csi.cinder.reader import Settings
from moorage.csi.controller import Controller
from moorage.csi.identity import Identity, Ready
from moorage.csi.serve import serve
from moorage.csi.spec import csi_pb2_grpc
from moorage.host.signals import stop_on_sigterm

PROGRAM = "moorage-csi-controller"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
GRACE = 5.0  # seconds for running calls at the end; the next process resumes what they started

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Adapters:
    """Connects to the cloud's volumes by an entry of clouds.yaml, and configures logging by level."""

    volumes: Callable[[Path, str], Volumes]
    log: Callable[[str], None]


def start(volumes: Volumes, settings: Settings, socket: Path) -> Any:
    """Serve the driver's identity and controller on the socket; `stop(grace)` of the result stops it."""
    identity = Identity(NAME, __version__, Ready(volumes.zones))
    controller = Controller(CinderBackend(volumes, settings), TOPOLOGY)

    def add_services(server: Any) -> None:
        csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
        csi_pb2_grpc.add_ControllerServicer_to_server(controller, server)

    return serve(socket, add_services)


@click.command(name=PROGRAM)
@click.option("--socket", type=click.Path(path_type=Path), required=True, help="The socket for the sidecars.")
@click.option("--clouds", type=FILE, required=True, help="A clouds.yaml.")
@click.option("--cloud", default="moorage", show_default=True, help="The entry of clouds.yaml.")
@click.option("--cluster", required=True, help="The cluster's name, written on all that is created.")
@click.option("--any-zone", is_flag=True, help="Nodes' zones are not Cinder's: request and report no zones.")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning"]))
@click.pass_obj
def command(
    adapters: Adapters, socket: Path, clouds: Path, cloud: str, cluster: str, any_zone: bool, log_level: str
) -> int:
    """Serve the controller side of the CSI driver cinder.csi.openstack.org."""
    adapters.log(log_level)
    stop = stop_on_sigterm()
    server = start(adapters.volumes(clouds, cloud), Settings(cluster, zones=not any_zone), socket)
    log.info("serving %s on %s", NAME, socket)
    stop.wait()
    server.stop(GRACE).wait()
    return os.EX_OK
