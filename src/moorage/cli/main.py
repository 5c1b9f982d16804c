"""`moorage`: the command groups, imported when they are used."""

from __future__ import annotations

import importlib
from dataclasses import replace

import click

import moorage

COMMANDS = {
    "cluster": "Create, show, resize, repair and delete Kubernetes clusters.",
    "nodegroup": "Create, resize and delete a cluster's groups of nodes.",
    "node": "List, drain, update, replace and delete a cluster's nodes.",
    "doctor": "Check what a cloud has for clusters.",
    "image": "Build and upload the node image.",
    "release": "Build or download the Kubernetes programs.",
    "cloud": "Run a real OpenStack on this machine.",
    "demo": "The local cloud with a cluster, an application and a database.",
}


class CommandGroups(click.Group):
    """A group with the members `moorage.cli.<command>`, imported at first use so that --help is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"moorage.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=CommandGroups, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(moorage.__version__, prog_name="moorage")
@click.option("--cloud", "cloud", metavar="NAME", envvar="OS_CLOUD", help="Entry of clouds.yaml to use.")
@click.pass_context
def cli(ctx: click.Context, cloud: str | None) -> None:
    """Kubernetes clusters on OpenStack.

    \b
    No cloud at hand?  moorage demo up             starts one here, with a cluster
    A cloud at hand?   moorage --cloud NAME cluster create demo

    \b
    Exit codes: 0 done · 1 failed · 2 rejected, nothing was changed · 3 not found · 4 conflict
                5 cloud unreachable · 6 quota too small · 7 timed out
    """
    if cloud:
        ctx.obj = replace(ctx.obj, cloud_name=cloud)
