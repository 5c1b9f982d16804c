"""`moorage node`: list, drain, replace and delete a cluster's nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.nodegroup import drain_options, drain_timeout_option, groups_of, timeout_option
from moorage.cli.output import emit, output_option, progress
from moorage.model.cluster import DrainOptions

COLUMNS = ("name", "role", "address", "server", "ready", "version", "reason")


@click.group()
def node() -> None:
    """List, drain, replace and delete a cluster's nodes."""


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


def _change(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options of commands that drain nodes."""
    for decorate in (
        pass_context,
        timeout_option,
        drain_options,
        click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation."),
        click.argument("nodes", nargs=-1, required=True, metavar="NODE..."),
        click.argument("cluster"),
    ):
        verb = decorate(verb)
    return verb


@node.command(name="drain")
@click.argument("cluster")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@drain_timeout_option
@pass_context
def drain_(context: Context, cluster: str, nodes: tuple[str, ...], yes: bool, drain_timeout: float) -> None:
    """Cordon nodes and evict their pods, as disruption budgets allow it.

    kubectl uncordon NODE lets new pods on a node again.
    """
    _confirm(f"Drain {', '.join(nodes)} of {cluster}?", yes)
    with progress() as report:
        groups_of(context, cluster, report, drain_timeout).drain_nodes(nodes, drain_timeout)


@node.command()
@_change
def replace(
    context: Context, cluster: str, nodes: tuple[str, ...], yes: bool, timeout: float, drain: DrainOptions
) -> None:
    """Drain nodes, then create another one for each while they are deleted.

    You can interrupt it at any time and run it again. To have the new nodes first, use nodegroup resize, then node
    delete.
    """
    _confirm(f"Replace {', '.join(nodes)} of {cluster}?", yes)
    with progress() as report:
        groups_of(context, cluster, report, timeout).replace_nodes(nodes, drain)


@node.command()
@_change
def delete(
    context: Context, cluster: str, nodes: tuple[str, ...], yes: bool, timeout: float, drain: DrainOptions
) -> None:
    """Drain and delete nodes; their node groups get smaller.

    The nodes' pods are evicted as disruption budgets allow it, their volumes are detached, then their servers are
    deleted. You can interrupt it at any time and run it again.
    """
    _confirm(f"Delete {', '.join(nodes)} of {cluster}?", yes)
    with progress() as report:
        groups_of(context, cluster, report, timeout).delete_nodes(nodes, drain)


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)
