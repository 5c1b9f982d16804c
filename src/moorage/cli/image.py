"""`moorage image`: the immutable image that nodes boot."""

from __future__ import annotations

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress


@click.group()
def image() -> None:
    """Build and upload the node image.

    A node image is one version of operating system and Kubernetes, as one read-only file system. It is built from a
    release (`moorage release build`) and kept in the cache; the same inputs give the same image.
    """


@image.command()
@output_option
@pass_context
def build(context: Context, output: str) -> None:
    """Build the node image, if missing. Needs root."""
    from moorage.image.node_image import build_image
    from moorage.image.release import find_release

    with progress() as report:
        made = build_image(context.paths.cache, find_release(context.paths.cache), report)
    emit(output, {"version": made.version, "kubernetes": made.kubernetes_version, "file": str(made.squashfs)})


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
@pass_context
def upload(context: Context) -> None:
    """Upload the node image to a cloud's Glance, if missing.

    \b
    Example: moorage --cloud mycloud image upload
    """
    from moorage.image.node_image import find_image
    from moorage.image.upload import upload as upload_image

    built = find_image(context.paths.cache)
    with progress() as report:
        found = upload_image(context.cloud().images, built, report)
    click.echo(found)
