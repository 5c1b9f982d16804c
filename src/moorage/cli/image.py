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

    For servers and metal it is a disk, which boots with BIOS and with UEFI, with a kernel of Debian's archive. If you
    trust a key (`moorage image trust`), its nodes accept only updates that are signed.
    """
    from moorage.image.node_image import build_image
    from moorage.image.release import find_release
    from moorage.image.signed import state

    with progress() as report:
        made = build_image(context.paths.cache, find_release(context.paths.cache), report, _keys(context))
        image = made.to_upload if target == CONTAINER else _disk(context, made, target, report).to_upload
        files = {"file": str(image.file), "statement": str(state(image))}
    emit(output, {"version": made.version, "kubernetes": made.kubernetes_version, **files})


def _keys(context: Context) -> tuple[str, ...]:
    """The trusted keys of this user."""
    from moorage.image.signed import trusted

    return trusted(context.paths.trusted_keys)


def _find(context: Context) -> NodeImage:
    from moorage.image.node_image import find_image

    return find_image(context.paths.cache, _keys(context))


def _disk(context: Context, image: NodeImage, target: str, report: Callable[[str], None]) -> DiskImage:
    from moorage.image.disk.build import build_disk
    from moorage.image.disk.kernel import Hardware

    return build_disk(context.paths.cache, image, Hardware(target), report)


@image.command()
@output_option
@pass_context
def show(context: Context, output: str) -> None:
    """Show the image that this version of Moorage builds: versions, size, packages."""
    manifest = _find(context).manifest
    if output == "table":
        manifest["size"] = f"{manifest['size'] / 2**20:.0f} MiB"
        manifest["packages"] = f"{len(manifest['packages'])} Debian packages (--output json lists them)"
    emit(output, manifest)


@image.command()
@click.argument("statement", required=False, type=click.Path(path_type=Path))
@click.option("--for", "target", type=TARGETS, help=WHAT_BOOTS)
@pass_context
def upload(context: Context, statement: Path | None, target: str | None) -> None:
    """Upload the node image that was built, or the one of a STATEMENT that was fetched, if the cloud lacks it.

    A signature beside the statement is uploaded with it, and nodes verify it.

    \b
    moorage --cloud mine image upload --for server
    moorage --cloud mine image upload "$(moorage image fetch --from URL)"
    """
    from moorage.image.signed import load, state, with_signature
    from moorage.image.upload import upload as upload_image

    if (statement is None) == (target is None):
        raise BadInput(
            "what to upload is not clear", "either --for, or the statement that `moorage image fetch` printed"
        )
    with progress() as report:
        if statement is not None:
            image = load(statement)
        else:
            built = _find(context)
            image = built.to_upload if target == CONTAINER else _disk(context, built, str(target), report).to_upload
            state(image)
        found = upload_image(context.cloud().images, with_signature(image, _keys(context)), report)
    click.echo(found)


@image.command()
@click.option("--from", "address", required=True, metavar="URL", help="Address of the image's statement, a .json file.")
@pass_context
def fetch(context: Context, address: str) -> None:
    """Download a published image, verify it with the trusted keys, and print its statement for `upload`.

    A publisher puts three files into one folder of an HTTP server: the image, its statement that `moorage image build`
    wrote, and the statement's signature, by `minisign -Sm`. An interrupted download resumes.
    """
    from moorage.image.signed import fetch as fetch_image

    with progress() as report:
        found = fetch_image(address, _keys(context), context.paths.cache / "image/fetched", report)
    click.echo(found)


@image.command()
@click.argument("key", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@pass_context
def trust(context: Context, key: Path) -> None:
    """Trust the public KEY (a .pub file of minisign): of published images, and on nodes of images built from now on.

    Nodes with a trusted key accept only updates that it signed. To end that, delete the key's file, which this prints,
    and build again.
    """
    from moorage.image.signed import trust as trust_key

    folder = context.paths.trusted_keys
    click.echo(folder / f"{trust_key(folder, key.read_text(errors='replace')).name}.pub")


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

    with progress() as report:
        made = _disk(context, _find(context), target, report)
        found = inspect(disk, made)
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"this deletes everything on {found}", "pass --yes")
        click.confirm(f"Delete everything on {found}?", abort=True)
    with progress() as report:
        write_image(found, made, report)
    click.echo(f"{disk} boots {made.image.version}.", err=True)
