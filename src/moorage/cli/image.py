"""`moorage image`: the immutable image that nodes boot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress
from moorage.model.errors import BadInput

if TYPE_CHECKING:
    from moorage.image.disk.build import DiskImage
    from moorage.image.node_image import NodeImage


@click.group()
def image() -> None:
    """Build and upload the node image.

    A node image is one version of operating system and Kubernetes, as one read-only file system: alone for the local
    cloud's machine containers, or in a disk that any server boots. It is built from a release (`moorage release
    build`) and kept in the cache; the same inputs give the same image.
    """


CONTAINER = "container"
TARGETS = click.Choice([CONTAINER, "server", "metal"])
WHAT_BOOTS = "What boots it: a machine container of the local cloud, a virtual machine, or any machine."


@image.command()
@click.option("--for", "target", type=TARGETS, default=CONTAINER, show_default=True, help=WHAT_BOOTS)
@output_option
@pass_context
def build(context: Context, target: str, output: str) -> None:
    """Build the node image, if missing. Needs root.

    For servers and metal it is a disk, which boots with BIOS and with UEFI, with a kernel of Debian's archive.
    """
    from moorage.image.node_image import build_image
    from moorage.image.release import find_release

    with progress() as report:
        made = build_image(context.paths.cache, find_release(context.paths.cache), report)
        file = made.squashfs if target == CONTAINER else _disk(context, made, target, report).file
    emit(output, {"version": made.version, "kubernetes": made.kubernetes_version, "file": str(file)})


def _disk(context: Context, image: NodeImage, target: str, report: Callable[[str], None]) -> DiskImage:
    from moorage.image.disk.build import build_disk
    from moorage.image.disk.kernel import Hardware

    return build_disk(context.paths.cache, image, Hardware(target), report)


@image.command()
@output_option
@pass_context
def show(context: Context, output: str) -> None:
    """Show the image that this version of Moorage builds: versions, size, packages."""
    from moorage.image.node_image import find_image

    manifest = find_image(context.paths.cache).manifest
    if output == "table":
        manifest["size"] = f"{manifest['size'] / 2**20:.0f} MiB"
        manifest["packages"] = f"{len(manifest['packages'])} Debian packages (--output json lists them)"
    emit(output, manifest)


@image.command()
@click.option("--for", "target", type=TARGETS, required=True, help=WHAT_BOOTS)
@pass_context
def upload(context: Context, target: str) -> None:
    """Upload the node image to a cloud's Glance, if missing.

    \b
    Example: moorage --cloud mycloud image upload --for server
    """
    from moorage.image.node_image import find_image
    from moorage.image.upload import upload as upload_image

    built = find_image(context.paths.cache)
    with progress() as report:
        image = built if target == CONTAINER else _disk(context, built, target, report)
        found = upload_image(context.cloud().images, image.to_upload, report)
    click.echo(found)


@image.command()
@click.option(
    "--for", "target", type=click.Choice(["metal", "server"]), default="metal", show_default=True, help=WHAT_BOOTS
)
@click.option("--disk", type=click.Path(path_type=Path), required=True, help="The whole disk, such as /dev/sdb.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_context
def write(context: Context, target: str, disk: Path, yes: bool) -> None:
    """Write the node image on a disk of this machine, replacing all that is on it. Needs root.

    For a server that no cloud installs; Ironic writes the uploaded image itself. The node reads its user data from a
    config drive, which may be a CD or a USB disk with the label config-2.
    """
    from moorage.image.disk.write import inspect
    from moorage.image.disk.write import write as write_image
    from moorage.image.node_image import find_image

    with progress() as report:
        made = _disk(context, find_image(context.paths.cache), target, report)
        found = inspect(disk, made)
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"this deletes everything on {found}", "pass --yes")
        click.confirm(f"Delete everything on {found}?", abort=True)
    with progress() as report:
        write_image(found, made, report)
    click.echo(f"{disk} boots {made.image.version}.", err=True)
