"""`moorage release`: the Kubernetes programs of a node image."""

from __future__ import annotations

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress
from moorage.model.errors import Failed


@click.group()
def release() -> None:
    """Build or download the Kubernetes programs.

    A release is a directory with Kubernetes, containerd, etcd and their companions, in versions that were tested
    together. It is built once on a machine and kept in the cache.
    """


@release.command()
@click.option("--keep-go-cache", is_flag=True, help="Keep Go's modules and objects (13 GB) for another build.")
@pass_context
def build(context: Context, keep_go_cache: bool) -> None:
    """Build the programs from published Go modules (about 18 minutes, once)."""
    from moorage.image.release import build as build_release

    with progress() as report:
        made = build_release(context.paths.cache, report=report, keep_go_cache=keep_go_cache)
    click.echo(made.directory)


@release.command()
@click.option("--mirror", metavar="URL", required=True, help="URL of manifest.json and bin/.")
@pass_context
def fetch(context: Context, mirror: str) -> None:
    """Download the programs from a mirror, and check the SHA-256 of each."""
    from moorage.image.release import fetch as fetch_release

    with progress() as report:
        fetched = fetch_release(context.paths.cache, mirror, report=report)
    click.echo(fetched.directory)


@release.command()
@output_option
@pass_context
def show(context: Context, output: str) -> None:
    """List the programs, with versions and sources."""
    from moorage.image.release import find_release

    found = find_release(context.paths.cache)
    manifest = found.manifest
    programs = [entry.fields() for entry in manifest.programs]
    if output != "table":
        value = {"release": found.hash, "directory": str(found.directory), "kubernetes": manifest.kubernetes}
        emit(output, value | {"programs": programs})
        return
    emit(output, {"release": found.hash, "directory": found.directory, "kubernetes": manifest.kubernetes})
    click.echo()
    rows = [entry | {"mb": f"{entry['size'] / 1e6:.1f}", "same_as": entry.get("link", "")} for entry in programs]
    emit(output, rows, ["name", "version", "mb", "same_as", "source"])


@release.command()
@output_option
@pass_context
def verify(context: Context, output: str) -> None:
    """Compare every program with the manifest; exit code 1 when one is changed, missing or unexpected."""
    from moorage.image.release import find_release
    from moorage.image.release import verify as verify_release

    found = find_release(context.paths.cache)
    findings = verify_release(found)
    rows = [{"name": finding.name, "problem": finding.problem} for finding in findings]
    if rows or output != "table":
        emit(output, rows, ["name", "problem"])
    else:
        click.echo(f"all {len(found.manifest.programs)} programs match the manifest")
    if findings:
        hint = f"rm -r {found.directory} && moorage release build"
        raise Failed(f"{len(findings)} of the release's files do not match its manifest", hint)
