"""The one place that constructs adapters, and where `moorage` begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from moorage.config import Paths
from moorage.model.errors import MoorageError

if TYPE_CHECKING:
    from moorage.cli.context import Context
    from moorage.cloud.openstack.rest import Rest
    from moorage.cloud.port.cloud import Cloud
    from moorage.cloud.port.volumes import Volumes
    from moorage.controller.main import Project
    from moorage.kube.kubeconfig import KubeAccess
    from moorage.kube.port import KubernetesClient

CONTROLLER_TIMEOUT = 20.0  # seconds for one response of the cloud to the controller, which retries


def connect_cloud(name: str | None) -> Cloud:
    from moorage.cloud.openstack.cloud import OpenStackCloud

    return OpenStackCloud.connect(name)


def connect_kube(access: KubeAccess) -> KubernetesClient:
    from moorage.kube.http import HttpKubernetesClient

    return HttpKubernetesClient.from_access(access)


def connect_project(clouds: Path, name: str) -> Project:
    """Connect the controller to an entry of that clouds.yaml."""
    from moorage.cloud.openstack.load_balancers import OpenStackLoadBalancers
    from moorage.cloud.openstack.network import OpenStackNetwork
    from moorage.cloud.openstack.servers import OpenStackServers
    from moorage.cloud.openstack.volumes import CINDER, OpenStackVolumes
    from moorage.controller.main import Project

    rest = _controllers_rest(clouds, name)
    servers, load_balancers, network = OpenStackServers(rest), OpenStackLoadBalancers(rest), OpenStackNetwork(rest)
    volumes = OpenStackVolumes(rest) if rest.has_service(CINDER) else None
    return Project(rest.region or "", servers, load_balancers, network, volumes)


def connect_check(clouds: Path, name: str) -> Callable[[], None]:
    """A function that checks the entry's credentials; it raises CloudUnreachable when they are refused."""
    return _controllers_rest(clouds, name).check


def connect_volumes(clouds: Path, name: str) -> Volumes:
    """Connect to the volumes of an entry of that clouds.yaml."""
    from moorage.cloud.openstack.volumes import OpenStackVolumes

    return OpenStackVolumes(_controllers_rest(clouds, name))


def _controllers_rest(clouds: Path, name: str) -> Rest:
    from moorage.cloud.openstack.rest import Rest

    rest = Rest.from_file(clouds, name)
    rest.session.timeout = CONTROLLER_TIMEOUT
    return rest


def connect_kubeconfig(kubeconfig: Path) -> KubernetesClient:
    from moorage.kube.http import HttpKubernetesClient

    return HttpKubernetesClient.from_file(kubeconfig)


def controller() -> None:
    """Run `moorage-controller`."""
    from moorage.controller.main import Adapters, command

    _run(command, Adapters(connect_kubeconfig, connect_project, connect_check), _report)


def csi_controller() -> None:
    """Run `moorage-csi-controller`."""
    from moorage.controller.logs import log_json
    from moorage.csi.main import Adapters, command

    _run(command, Adapters(connect_volumes, log_json), _report)


def csi_node() -> None:
    """Run `moorage-csi-node`."""
    from moorage.csi.cinder.device import CinderAttacher
    from moorage.csi.node.main import Adapters, command
    from moorage.host.linux_filesystems import LinuxFilesystems
    from moorage.model.ownership import CINDER_DRIVER, CINDER_ZONE

    _run(command, Adapters(CINDER_DRIVER, CINDER_ZONE, LinuxFilesystems(), CinderAttacher), _report)


def context() -> Context:
    from moorage.cli.context import Context

    return Context(Paths.from_environment(os.environ), connect_cloud, connect_kube)


def main() -> None:
    """Run the command line."""
    from moorage.cli.main import cli
    from moorage.cli.output import fail

    _run(cli, context(), fail)


def _report(error: MoorageError) -> int:
    """Report a daemon's error; returns its exit code."""
    click.echo(f"{error}" + (f": {error.hint}" if error.hint else ""), err=True)
    return error.exit_code


def _run(command: click.Command, context_object: object, report: Callable[[MoorageError], int]) -> NoReturn:
    """Run a command and exit. Users never see a traceback for an external error."""
    try:
        result = command.main(standalone_mode=False, obj=context_object)
        sys.exit(result if isinstance(result, int) else 0)
    except MoorageError as error:
        sys.exit(report(error))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: run the same command again to resume", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
