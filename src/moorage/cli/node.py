"""`moorage node`: list a cluster's nodes."""

from __future__ import annotations

from dataclasses import asdict

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option

COLUMNS = ("name", "role", "address", "server", "ready", "version", "reason")


@click.group()
def node() -> None:
    """List a cluster's nodes."""


@node.command(name="list")
@click.argument("cluster")
@output_option
@pass_context
def list_(context: Context, cluster: str, output: str) -> None:
    """List a cluster's nodes as Nova and Kubernetes see them.

    READY is "-" when this machine has no key for the cluster's Kubernetes.
    """
    from moorage.clusters.reconcile import observe

    found = observe(context.cloud(), context.connect_kube, context.paths.data, cluster)
    rows = [{**asdict(entry), "reason": entry.reason or None} for entry in found.nodes]
    if output == "table":
        words = {True: "yes", False: "no", None: "-"}
        rows = [{**row, "ready": words[row["ready"]]} for row in rows]
    emit(output, rows, COLUMNS)
