"""`moorage nodegroup`: create, resize and delete a cluster's groups of nodes."""

from __future__ import annotations

from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress
from moorage.model.cluster import MAX_COUNT, Cluster, DrainOptions, NodeGroup, Taint
from moorage.model.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.clusters.node_groups import NodeGroups

COLUMNS = ("name", "count", "ready", "flavor", "labels", "taints", "zones")

wait_option = click.option("--wait/--no-wait", default=True, help="Wait until the nodes are Ready.  [default: wait]")
timeout_option = click.option("--timeout", type=float, default=900, show_default=True, help="Seconds to wait.")


drain_timeout_option = click.option(
    "--drain-timeout",
    type=float,
    default=300,
    show_default=True,
    help="Seconds for the nodes' pods to move away.",
)


def drain_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that remove nodes; the command gets them as `drain`."""

    @wraps(command)
    def call(*arguments: Any, drain_timeout: float, force: bool, **options: Any) -> Any:
        return command(*arguments, drain=DrainOptions(drain_timeout, force), **options)

    text = "Remove nodes that are not drained in time, and the last workers of a cluster."
    return drain_timeout_option(click.option("--force", is_flag=True, help=text)(call))


def surge_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options for how many nodes are upgraded at once."""
    surge = click.option("--max-surge", type=int, help="Nodes more than the group's number during an upgrade.")
    unavailable = click.option("--max-unavailable", type=int, help="Nodes less than that which may be not Ready.")
    return surge(unavailable(command))


@click.group()
def nodegroup() -> None:
    """Create, resize, upgrade and delete a cluster's groups of nodes.

    The nodes of a group have the same flavor, image, labels and taints. `cluster create` creates the group `workers`.

    \b
    moorage nodegroup create demo gpu --count 2 --flavor g1.large --label gpu=yes --taint gpu=yes:NoSchedule
    moorage nodegroup resize demo gpu --count 4
    moorage nodegroup upgrade demo gpu --flavor g1.huge
    moorage nodegroup list demo
    moorage nodegroup delete demo gpu
    """


@nodegroup.command()
@click.argument("cluster")
@click.argument("group")
@click.option("--count", type=int, default=1, show_default=True, help="Number of nodes.")
@click.option("--flavor", default="", help="Flavor of the nodes.  [default: the cluster's]")
@click.option("--image", default="", help="Node image, by name or id.  [default: the cluster's]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of each node.")
@click.option("--taint", "taints", multiple=True, metavar="KEY=VALUE:EFFECT", help="Taint of each node.")
@click.option("--zone", "zones", multiple=True, help="Availability zone; the nodes are in all given ones in turn.")
@click.option("--min", "min_count", type=int, default=0, show_default=True, help="Smallest number of nodes.")
@click.option("--max", "max_count", type=int, default=MAX_COUNT, show_default=True, help="Largest number of nodes.")
@surge_options
@timeout_option
@wait_option
@output_option
@pass_context
def create(
    context: Context,
    /,
    cluster: str,
    group: str,
    labels: tuple[str, ...],
    taints: tuple[str, ...],
    timeout: float,
    wait: bool,
    output: str,
    **options: Any,
) -> None:
    """Create a group of nodes, or resume its creation.

    Labels and taints are on the nodes when they join. You can interrupt it at any time and run it again.
    """
    given = {name: value for name, value in options.items() if value is not None}
    new = NodeGroup(group, labels=_labels(labels), taints=tuple(map(_taint, taints)), **given)
    with progress() as report:
        groups_of(context, cluster, report, timeout).create(new, wait=wait)
    emit(output, _found(context, cluster, group))


@nodegroup.command(name="list")
@click.argument("cluster")
@output_option
@pass_context
def list_(context: Context, cluster: str, output: str) -> None:
    """List a cluster's node groups; READY is the number of nodes that are."""
    rows = _rows(_observe(context, cluster))
    if output == "table":
        pairs = [[f"{key}={value}" for key, value in row["labels"].items()] for row in rows]
        texts = [
            {"labels": ",".join(own), "taints": ",".join(row["taints"])} for own, row in zip(pairs, rows, strict=True)
        ]
        rows = [{**row, **text, "zones": ",".join(row["zones"])} for row, text in zip(rows, texts, strict=True)]
    emit(output, rows, COLUMNS)


@nodegroup.command()
@click.argument("cluster")
@click.argument("group")
@output_option
@pass_context
def show(context: Context, cluster: str, group: str, output: str) -> None:
    """Show a node group."""
    emit(output, _found(context, cluster, group))


@nodegroup.command()
@click.argument("cluster")
@click.argument("group")
@click.option("--count", type=int, required=True, help="Number of nodes.")
@drain_options
@timeout_option
@wait_option
@output_option
@pass_context
def resize(
    context: Context,
    cluster: str,
    group: str,
    count: int,
    drain: DrainOptions,
    timeout: float,
    wait: bool,
    output: str,
) -> None:
    """Change the number of a group's nodes.

    To make it smaller, it removes broken nodes first, then the newest: their pods are evicted as disruption budgets
    allow it, their volumes are detached, then their servers are deleted. When that takes longer than --drain-timeout,
    it stops with the reason, or removes them anyway with --force. You can interrupt it at any time and run it again.
    """
    with progress() as report:
        groups_of(context, cluster, report, timeout).resize(group, count, drain, wait=wait)
    emit(output, _found(context, cluster, group))


@nodegroup.command()
@click.argument("cluster")
@click.argument("group")
@click.option("--flavor", help="Flavor of the nodes.")
@click.option("--image", help="Node image, by name or id.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of each node; replaces all.")
@click.option("--taint", "taints", multiple=True, metavar="KEY=VALUE:EFFECT", help="Taint of each node; replaces all.")
@click.option("--zone", "zones", multiple=True, help="Availability zone; replaces all.")
@click.option("--no-labels", is_flag=True, help="The nodes get no labels any more.")
@click.option("--no-taints", is_flag=True, help="The nodes get no taints any more.")
@surge_options
@drain_options
@timeout_option
@output_option
@pass_context
def upgrade(
    context: Context,
    /,
    cluster: str,
    group: str,
    labels: tuple[str, ...],
    taints: tuple[str, ...],
    zones: tuple[str, ...],
    no_labels: bool,
    no_taints: bool,
    drain: DrainOptions,
    timeout: float,
    output: str,
    **options: Any,
) -> None:
    """Give a group's nodes another flavor, image, labels or taints.

    It creates nodes with the new values, and drains and deletes one of the others for each that is Ready. What is not
    given stays. When a new node does not come up, it stops with the reason, and the others go on running: correct it by
    another upgrade, or return with `nodegroup rollback`. You can interrupt it at any time and run it again.

    \b
    moorage nodegroup upgrade demo workers --flavor m1.large
    moorage nodegroup upgrade demo workers --image moorage-1.38 --max-surge 3
    """
    changes = {name: value for name, value in options.items() if value is not None}
    changes |= {"labels": _labels(labels)} if labels or no_labels else {}
    changes |= {"taints": tuple(map(_taint, taints))} if taints or no_taints else {}
    changes |= {"zones": zones} if zones else {}
    if not changes:
        raise click.UsageError(
            "Give at least one of --flavor, --image, --label, --taint, --zone, --max-surge, --max-unavailable."
        )
    with progress() as report:
        groups_of(context, cluster, report, timeout).upgrade(group, changes, drain)
    emit(output, _found(context, cluster, group))


@nodegroup.command()
@click.argument("cluster")
@click.argument("group")
@drain_options
@timeout_option
@output_option
@pass_context
def rollback(context: Context, cluster: str, group: str, drain: DrainOptions, timeout: float, output: str) -> None:
    """Return to what a group was before an upgrade that is not complete.

    It is the same as an upgrade, in the other direction: nodes that are still there are kept.
    """
    with progress() as report:
        groups_of(context, cluster, report, timeout).rollback(group, drain)
    emit(output, _found(context, cluster, group))


@nodegroup.command()
@click.argument("cluster")
@click.argument("group")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@drain_options
@timeout_option
@pass_context
def delete(context: Context, cluster: str, group: str, yes: bool, drain: DrainOptions, timeout: float) -> None:
    """Drain and delete all nodes of a group, then the group."""
    if not yes:
        click.confirm(f"Delete the node group {group} of {cluster} with all its nodes?", abort=True, err=True)
    with progress() as report:
        groups_of(context, cluster, report, timeout).delete(group, drain)


def groups_of(context: Context, cluster: str, report: Callable[[str], None], timeout: float) -> NodeGroups:
    """The node groups of a cluster, for one run."""
    from moorage.clusters.node_groups import NodeGroups

    return NodeGroups(context.cloud(), context.connect_kube, context.paths.data, cluster, report, timeout)


def _observe(context: Context, cluster: str) -> Cluster:
    from moorage.clusters.reconcile import observe

    return observe(context.cloud(), context.connect_kube, context.paths.data, cluster)


def _rows(found: Cluster) -> list[dict[str, Any]]:
    return [row(group, found) for group in found.groups]


def _found(context: Context, cluster: str, group: str) -> dict[str, Any]:
    found = _observe(context, cluster)
    rows = {row["name"]: row for row in _rows(found)}
    if group not in rows:
        raise NotFound(f"cluster {cluster!r} has no node group {group!r}", f"moorage nodegroup list {cluster}")
    nodes = [node.name for node in found.nodes if node.group == group]
    return {**rows[group], "nodes": nodes}


def row(group: NodeGroup, cluster: Cluster) -> dict[str, Any]:
    """A group as commands show it, with the number of its nodes that are Ready."""
    ready = sum(node.ready is True for node in cluster.nodes if node.group == group.name)
    taints = [str(taint) for taint in group.taints]
    return {**asdict(group), "ready": ready, "labels": dict(group.labels), "taints": taints, "zones": list(group.zones)}


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for key, separator, _ in pairs:
        if not (key and separator):
            raise click.BadParameter(f"{key!r} is not KEY=VALUE", param_hint="--label")
    return {key: value for key, _, value in pairs}


def _taint(text: str) -> Taint:
    from moorage.clusters.spec_file import parse_taint

    taint = parse_taint(text)
    if taint is None:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE:EFFECT or KEY:EFFECT", param_hint="--taint")
    return taint
