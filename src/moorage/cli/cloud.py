"""`moorage cloud`: a real OpenStack on this machine."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress
from moorage.config import Paths
from moorage.model.errors import NotFound

if TYPE_CHECKING:
    from moorage.cloud.port.images import ImageFile
    from moorage.local.cloud import LocalCloud, Options


def local_cloud(paths: Paths, disk: ImageFile | None = None) -> LocalCloud:
    """The cloud in these paths, with the node image and the registry if they are built.

    `disk` is the image for virtual machines.
    """
    from moorage.local.cloud import LocalCloud

    clouds = Path(os.environ.get("OS_CLIENT_CONFIG_FILE") or Path.home() / ".config" / "openstack" / "clouds.yaml")
    return LocalCloud(paths.state, paths.run, paths.cache, clouds, replace(_options(paths), disk=disk))


def _options(paths: Paths) -> Options:
    from moorage.local.cloud import Options

    registry: Path | None = None
    image: ImageFile | None = None
    try:
        from moorage.image.release import find_release

        registry = find_release(paths.cache).program("registry")
        from moorage.image.node_image import find_image
        from moorage.image.signed import trusted

        image = find_image(paths.cache, trusted(paths.trusted_keys)).to_upload
    except NotFound:
        pass  # not built yet: the cloud is useful without it
    return Options(image, registry)


def _disk(paths: Paths, report: Callable[[str], None]) -> ImageFile:
    """The image for virtual machines, built if missing; NotFound when what it is built from is not."""
    from moorage.image.disk.build import build_disk
    from moorage.image.disk.kernel import Hardware
    from moorage.image.node_image import find_image
    from moorage.image.signed import trusted

    image = find_image(paths.cache, trusted(paths.trusted_keys))
    return build_disk(paths.cache, image, Hardware.SERVER, report).to_upload


@click.group()
def cloud() -> None:
    """Run a real OpenStack on this machine."""


@cloud.command()
@click.option(
    "--with",
    "extras",
    type=click.Choice(["vm"]),
    multiple=True,
    help="Offer virtual machines too, with the flavor m1.vm, until the cloud is reset.",
)
@pass_context
def up(context: Context, extras: tuple[str, ...]) -> None:
    """Start the cloud; returns when every service is ready.

    Servers are machine containers. With `--with vm`, those of the flavor m1.vm are virtual machines of Nova's libvirt
    driver; it also builds and uploads the image for them, now and whenever it is called again.
    """
    with progress() as report:
        disk = _disk(context.paths, report) if "vm" in extras else None
        local_cloud(context.paths, disk).up(report)
    click.echo("The cloud is up. Use it with --os-cloud moorage (tenant) or moorage-admin.", err=True)


@cloud.command()
@pass_context
def down(context: Context) -> None:
    """Stop the cloud and its servers; `up` starts both again with their data."""
    with progress() as report:
        local_cloud(context.paths).down(report)


@cloud.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_context
def reset(context: Context, yes: bool) -> None:
    """Stop the cloud and delete everything in it, except the cache."""
    if not yes and sys.stdin.isatty():
        click.confirm("Delete the local cloud with all its servers, volumes and clusters?", abort=True)
    with progress() as report:
        local_cloud(context.paths).reset(report)


@cloud.command()
@output_option
@pass_context
def status(context: Context, output: str) -> None:
    """Show each service with version, address, health and memory (MiB)."""
    rows = [asdict(row) for row in local_cloud(context.paths).status()]
    emit(output, rows, ["name", "version", "address", "health", "memory"])
    if output == "table":
        click.echo(f"{sum(row['memory'] for row in rows)} MiB in total", err=True)
    if any(row["health"] != "ready" for row in rows):
        sys.exit(1)


@cloud.command()
@click.argument("service")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines.")
@click.option("-n", "--lines", default=50, show_default=True, help="Number of past lines.")
@pass_context
def logs(context: Context, service: str, follow: bool, lines: int) -> None:
    """Print a service's logs."""
    sys.exit(local_cloud(context.paths).logs(service, follow, lines))


@cloud.command()
@output_option
@pass_context
def doctor(context: Context, output: str) -> None:
    """Check what this machine lacks, and how to fix it."""
    findings = local_cloud(context.paths).doctor()
    if findings or output != "table":
        emit(output, [asdict(finding) for finding in findings], ["subject", "problem", "fix", "fatal"])
    else:
        click.echo("This machine has everything to run the cloud.", err=True)
    if any(finding.fatal for finding in findings):
        sys.exit(2)


@cloud.command()
@click.option("--admin", is_flag=True, help="As the administrator instead of the tenant.")
@pass_context
def env(context: Context, admin: bool) -> None:
    """Print shell exports: eval "$(moorage cloud env)"."""
    for name, value in local_cloud(context.paths).env(admin).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@cloud.command()
@click.argument("service")
@pass_context
def restart(context: Context, service: str) -> None:
    """Stop and start one service, and wait until it is ready."""
    with progress() as report:
        report(f"restarting {service}")
        local_cloud(context.paths).restart(service)
