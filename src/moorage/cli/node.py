"""`moorage node`: list and delete a cluster's nodes."""

from __future__ import annotations

from dataclasses import asdict

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.nodegroup import drain_options, groups_of, timeout_option
from moorage.cli.output import emit, output_option, progress

COLUMNS = ("name", "role", "address", "server", "ready", "version", "reason")


@click.group()
def node() -> None:
    """List and delete a cluster's nodes."""


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


@node.command()
@click.argument("cluster")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@drain_options
@timeout_option
@pass_context
def delete(
    context: Context, cluster: str, nodes: tuple[str, ...], yes: bool, drain_timeout: float, force: bool, timeout: float
) -> None:
    """Drain and delete nodes; their node groups get smaller.

    The nodes' pods are evicted as disruption budgets allow it, their volumes are detached, then their servers are
    deleted. To replace a broken node, add one first: moorage nodegroup resize.
    """
    from moorage.clusters.nodes import DrainOptions

    if not yes:
        click.confirm(f"Delete {', '.join(nodes)} of {cluster}?", abort=True, err=True)
    with progress() as report:
        groups_of(context, cluster, report, timeout).delete_nodes(nodes, DrainOptions(drain_timeout, force))
