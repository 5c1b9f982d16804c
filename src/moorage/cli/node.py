"""`moorage node`: list, drain, replace and delete a cluster's nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.nodegroup import drain_options, drain_timeout_option, groups_of, timeout_option
from moorage.cli.output import emit, output_option, progress
from moorage.model.cluster import DrainOptions

if TYPE_CHECKING:
    from moorage.clusters.node_images import NodeImages

Option = Callable[[Callable[..., Any]], Callable[..., Any]]
COLUMNS = ("name", "role", "address", "server", "ready", "version", "reason")


@click.group()
def node() -> None:
    """List, drain, update, replace and delete a cluster's nodes."""


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


def _options(*own: Option) -> Option:
    """The arguments of commands that drain nodes, and their options, with the command's own."""

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            pass_context,
            *own,
            click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation."),
            click.argument("nodes", nargs=-1, required=True, metavar="NODE..."),
            click.argument("cluster"),
        ):
            verb = option(verb)
        return verb

    return decorate


_change = _options(timeout_option, drain_options)


def _reboot_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that reboot nodes; the command gets them as `drain`, None without draining."""

    @wraps(command)
    def call(*arguments: Any, drain_timeout: float, force: bool, no_drain: bool, **options: Any) -> Any:
        return command(*arguments, drain=None if no_drain else DrainOptions(drain_timeout, force), **options)

    for option in (
        click.option("--no-drain", is_flag=True, help="Reboot with the pods on the node."),
        click.option("--timeout", default=1800.0, show_default=True, help="Seconds for each node."),
        click.option("--force", is_flag=True, help="Reboot nodes that are not drained in time."),
        drain_timeout_option,
    ):
        call = option(call)
    return call


_in_place = _options(_reboot_options)


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


@node.command()
@_in_place
@click.option("--image", help="Name or id of a Moorage image; the newest by default.")
def update(
    context: Context,
    cluster: str,
    nodes: tuple[str, ...],
    yes: bool,
    timeout: float,
    drain: DrainOptions | None,
    image: str | None,
) -> None:
    """Give nodes another image in place, one after the other.

    Each node fetches the image into its other slot, is drained, and boots it. If it does not get Ready, it boots its
    former image again, and the command fails. You can interrupt it at any time and run it again.

    \b
    Example: moorage node update demo demo-workers-1-0 --image moorage-12-1.37.2-0a1b2c3d
    """
    _confirm(f"Update {', '.join(nodes)} of {cluster}, and reboot?", yes)
    with progress() as report:
        _images_of(context, cluster, report, timeout).update(nodes, image, drain)


@node.command()
@_in_place
def rollback(
    context: Context, cluster: str, nodes: tuple[str, ...], yes: bool, timeout: float, drain: DrainOptions | None
) -> None:
    """Return nodes to the image before their last update, one after the other."""
    _confirm(f"Roll {', '.join(nodes)} of {cluster} back, and reboot?", yes)
    with progress() as report:
        _images_of(context, cluster, report, timeout).roll_back(nodes, drain)


def _images_of(context: Context, cluster: str, report: Callable[[str], None], timeout: float) -> NodeImages:
    from moorage.clusters.node_images import NodeImages

    return NodeImages(context.cloud(), context.connect_kube, context.paths.data, cluster, report, timeout)


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)
