"""`moorage cluster`: create, show and delete clusters."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from moorage.cli.context import Context, pass_context
from moorage.cli.nodegroup import drain_options, groups_of, timeout_option, wait_option
from moorage.cli.output import emit, output_option, progress
from moorage.model.cluster import (
    DEFAULT_GROUP,
    Cluster,
    ClusterEvent,
    ClusterSpec,
    ClusterStatus,
    DrainOptions,
    NodeGroup,
    Progress,
)
from moorage.model.errors import BadInput

if TYPE_CHECKING:
    from moorage.clusters.deletion.resources import CleanupPlan
    from moorage.kube.kubeconfig import KubeAccess

KEPT_COLUMNS = ("kind", "name", "size", "claim", "id", "why")
LIST_COLUMNS = ("name", "status", "nodes", "created_at", "reason")
EVENT_COLUMNS = ("time", "type", "reason", "object", "message")
DEFAULTS = ClusterSpec("defaults")


@click.group()
def cluster() -> None:
    """Create, show, resize, repair and delete Kubernetes clusters.

    A cluster is a Heat stack of your project, with another one for each node group: all users of the project see them.
    The private key of its first administrator never leaves the machine that created it.

    \b
    moorage --cloud mine cluster create demo --workers 3
    moorage --cloud mine cluster kubeconfig demo    # then: kubectl get nodes
    moorage --cloud mine cluster show demo          # its status and the reason
    moorage --cloud mine cluster events demo        # what happened, when and why
    moorage --cloud mine cluster resize demo --workers 5
    moorage --cloud mine cluster delete demo
    """


@cluster.command()
@click.argument("name", required=False)
@click.option(
    "--file", "-f", "file", type=click.Path(path_type=Path, allow_dash=True), help="Read the whole spec from this file."
)
@click.option("--workers", type=int, default=2, show_default=True, help="Nodes of the node group `workers`.")
@click.option("--control-plane-nodes", type=int, default=1, show_default=True, help="Number of control-plane nodes.")
@click.option("--flavor", default="", help="Flavor of the nodes.  [default: the one that clouds.yaml names]")
@click.option("--worker-flavor", default="", help="Flavor of the workers, if different.")
@click.option("--image", help="Node image, by name or id.  [default: the newest Moorage image]")
@click.option(
    "--external-network",
    default="",
    help="External network for the floating IP.  [default: the one that clouds.yaml names, or the only one]",
)
@click.option("--node-cidr", default=DEFAULTS.node_cidr, show_default=True, help="Address range of nodes.")
@click.option("--pod-cidr", default=DEFAULTS.pod_cidr, show_default=True, help="Address range of pods.")
@click.option("--service-cidr", default=DEFAULTS.service_cidr, show_default=True, help="Address range of Services.")
@click.option(
    "--flannel-backend",
    type=click.Choice(["vxlan", "host-gw"]),
    default=DEFAULTS.flannel_backend,
    show_default=True,
    help="How pods on different nodes reach each other.",
)
@click.option("--registry-mirror", "mirrors", multiple=True, metavar="HOST=URL", help="Pull images of HOST from URL.")
@click.option("--node-port-cidr", default="", help="Address range that can reach NodePort Services.  [default: none]")
@click.option("--dns-nameserver", "nameservers", multiple=True, metavar="IP", help="Name server for the nodes.")
@click.option(
    "--cloud-provider/--no-cloud-provider",
    "cloud_provider",
    default=True,
    help="Load balancers and volumes for pods, and Nodes that follow their servers; creates an application credential "
    "for the control plane.  [default: with]",
)
@click.option("--timeout", type=float, default=900, show_default=True, help="Seconds to wait.")
@click.option(
    "--wait/--no-wait", default=True, help="Wait until every node is Ready and CoreDNS runs.  [default: wait]"
)
@output_option
@pass_context
def create(context: Context, /, file: Path | None, output: str, timeout: float, wait: bool, **options: Any) -> None:
    """Create a cluster, or resume its creation.

    You can interrupt it at any time and run it again: it resumes. It returns an existing cluster with the same
    parameters, and rejects one with other parameters (exit code 4).

    \b
    moorage --cloud mine cluster create demo
    moorage --cloud mine cluster create big --workers 20 --worker-flavor m1.large --no-wait
    moorage --cloud mine cluster create open --node-port-cidr 0.0.0.0/0 --dns-nameserver 9.9.9.9

    A file has everything, also several node groups; `cluster show NAME -o yaml` prints such a file:

    \b
    name: demo
    flavor: m1.large
    groups:
    - {name: workers, count: 3}
    - {name: gpu, count: 1, flavor: g1.large, labels: {gpu: "yes"}, taints: ["gpu=yes:NoSchedule"], max_count: 4}

    An entry of clouds.yaml may name defaults for its cloud:

    \b
    clouds:
      mine:
        auth: …
        moorage: {flavor: m1.large, external_network: internet}

    \b
    Exit codes: 1 failed, 2 bad input, 3 not found, 4 exists already, 5 cloud unreachable, 6 quota, 7 timed out.
    """
    from moorage.clusters import reconcile

    spec = _spec_from(file) if file else _spec(**options)
    with progress() as report:
        made = reconcile.create(
            context.cloud(), context.connect_kube, context.paths.data, spec, report, wait=wait, timeout=timeout
        )
    emit(output, _shown(made, output))
    if output == "table" and made.status is ClusterStatus.READY:
        click.echo(f"\nUse it:  moorage cluster kubeconfig {spec.name}   and then   kubectl get nodes", err=True)


def _spec(
    name: str | None,
    workers: int,
    worker_flavor: str,
    nameservers: tuple[str, ...],
    mirrors: tuple[str, ...],
    cloud_provider: bool,
    **options: Any,
) -> ClusterSpec:
    if name is None:
        raise click.UsageError("Give the cluster a name, or a file with --file.")
    return ClusterSpec(
        name,
        (NodeGroup(count=workers, flavor=worker_flavor),),
        dns_nameservers=nameservers,
        registry_mirrors=_mirrors(mirrors),
        cloud_provider="external" if cloud_provider else "",
        **options,
    )


def _spec_from(file: Path) -> ClusterSpec:
    """The spec in a file, which no option may change."""
    from moorage.clusters import spec_file

    context = click.get_current_context()
    others = [name for name in context.params if name not in ("file", "timeout", "wait", "output")]
    given = [name for name in others if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"--file has the whole spec: leave out {', '.join(given)}, or write that into the file.")
    try:
        with click.open_file(str(file)) as stream:
            return spec_file.parse(stream.read())
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {file}: {error}") from error


@cluster.command(name="list")
@output_option
@pass_context
def list_(context: Context, output: str) -> None:
    """List the clusters of the project, with the number of their servers.

    It reads stacks and servers alone: `cluster show` asks Kubernetes too.
    """
    from moorage.clusters.reconcile import clusters

    emit(output, [_row(found) for found in clusters(context.cloud())], LIST_COLUMNS)


@cluster.command()
@click.argument("name")
@output_option
@pass_context
def show(context: Context, name: str, output: str) -> None:
    """Show a cluster: its nodes, its status and the reason for it."""
    from moorage.clusters.reconcile import observe

    found = observe(context.cloud(), context.connect_kube, context.paths.data, name)
    emit(output, _shown(found, output))


@cluster.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), help="Show only the newest.")
@click.option("--warnings", is_flag=True, help="Show only what went wrong.")
@output_option
@pass_context
def events(context: Context, name: str, limit: int | None, warnings: bool, output: str) -> None:
    """Show what happened to a cluster, when and why, oldest first.

    They come from all machines that changed the cluster: what was requested, what Moorage did for it and why, and what
    Heat did with the stacks. With the cluster's key also what its moorage-controller noticed in the last hour.
    """
    from moorage.clusters.reconcile import list_events

    found = list_events(context.cloud(), context.connect_kube, context.paths.data, name)
    shown = [event for event in found if event.warning or not warnings][-(limit or len(found)) :]
    emit(output, [_event_row(event) for event in shown], EVENT_COLUMNS)


@cluster.command()
@click.argument("name")
@click.option("--workers", type=int, required=True, help="Nodes of the node group `workers`.")
@drain_options
@timeout_option
@wait_option
@output_option
@pass_context
def resize(
    context: Context,
    name: str,
    workers: int,
    drain: DrainOptions,
    timeout: float,
    wait: bool,
    output: str,
) -> None:
    """Change the number of workers: as `moorage nodegroup resize NAME workers --count`."""
    from moorage.clusters.reconcile import observe

    with progress() as report:
        groups_of(context, name, report, timeout).resize(DEFAULT_GROUP, workers, drain, wait=wait)
    found = observe(context.cloud(), context.connect_kube, context.paths.data, name)
    emit(output, _shown(found, output))


@cluster.command()
@click.argument("name")
@timeout_option
@output_option
@pass_context
def repair(context: Context, name: str, timeout: float, output: str) -> None:
    """Recreate what is missing or broken: nodes of which the server is gone, stacks that failed or that Heat left.

    The cluster keeps its size. It needs the cluster's key, because new nodes get a token to join with.
    """
    from moorage.clusters import reconcile

    with progress() as report:
        made = reconcile.repair(
            context.cloud(), context.connect_kube, context.paths.data, name, report, timeout=timeout
        )
    emit(output, _shown(made, output))


@cluster.command()
@click.argument("name")
@click.option("--print", "print_", is_flag=True, help="Print it on stdout instead.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="Merge into this file.  [default: kubectl's own]")
@pass_context
def kubeconfig(context: Context, name: str, print_: bool, file: Path | None) -> None:
    """Merge the cluster into your kubeconfig file and make it the current context, or print it."""
    from moorage.clusters.reconcile import access
    from moorage.kube import kubeconfig as config

    how: KubeAccess = access(context.cloud(), context.connect_kube, context.paths.data, name)
    if print_:
        click.echo(config.text(config.with_only(name, how)), nl=False)
        return
    path = file or config.default_path(os.environ)
    config.write(path, config.merge(config.read(path), name, how))
    click.echo(f"{path}: context {config.entry_name(name)} is the current one", err=True)


@cluster.command(name="renew-credential")
@click.argument("name")
@pass_context
def renew_credential(context: Context, name: str) -> None:
    """Give a cluster a new application credential for its cloud, and revoke the old one.

    Use it when the credential has expired, was revoked, or has leaked. Nothing is interrupted; the cluster uses the new
    one within half a minute.
    """
    from moorage.clusters import reconcile

    reconcile.renew_credential(context.cloud(), context.connect_kube, context.paths.data, name)
    click.echo(f"{name} has a new credential; moorage cluster show {name} says whether its cloud accepts it", err=True)


@cluster.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.option("--keep-volumes", is_flag=True, help="Keep all volumes and snapshots, and list them.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds to wait.")
@click.option("--wait/--no-wait", default=True, help="Wait until nothing remains.  [default: wait]")
@output_option
@pass_context
def delete(context: Context, name: str, yes: bool, keep_volumes: bool, timeout: float, wait: bool, output: str) -> None:
    """Delete a cluster and everything that it ever created; verify that nothing remains.

    This includes its load balancers, their floating IPs, and its volumes and snapshots. Volumes and snapshots with the
    reclaim policy Retain are kept and listed, with --keep-volumes all of them. The cluster's API is not needed. Data
    that was not written to a volume yet is lost, as in a power failure. You can interrupt it at any time and run it
    again.

    With --no-wait it only requests the deletion; run it again without to verify it.
    """
    from moorage.clusters import reconcile
    from moorage.kube import kubeconfig as config

    cloud, kube, data = context.cloud(), context.connect_kube, context.paths.data
    if not yes:
        _print_preview(reconcile.preview_deletion(cloud, kube, data, name, keep_volumes=keep_volumes))
        click.confirm(
            f"Delete the cluster {name} with all its nodes and everything that runs on them?", abort=True, err=True
        )
    with progress() as report:
        done = reconcile.delete(cloud, kube, data, name, report, keep_volumes=keep_volumes, wait=wait, timeout=timeout)
    path = config.default_path(os.environ)
    if path.exists():
        there = config.read(path)
        if (rest := config.remove(there, name)) != there:
            config.write(path, rest)
    kept = [asdict(resource) for resource in done.kept]
    if output != "table":
        status = "deleted" if wait else "deleting"
        emit(output, {"name": name, "status": status, "kept": kept, "progress": _steps(done.progress)})
    elif kept:
        emit(output, kept, KEPT_COLUMNS)


def _print_preview(preview: CleanupPlan) -> None:
    """Before the confirmation: what else is deleted, and what is kept."""
    for resource in preview.deleted:
        click.echo(f"also deleted: {resource}", err=True)
    for resource in preview.kept:
        click.echo(f"kept: {resource}", err=True)


def _mirrors(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for host, _, url in pairs:
        if not (host and url):
            raise click.BadParameter(f"{host!r} is not HOST=URL", param_hint="--registry-mirror")
    return {host: url for host, _, url in pairs}


def _event_row(event: ClusterEvent) -> dict[str, str]:
    type = "Warning" if event.warning else "Normal"
    return {"time": event.time, "type": type} | {name: getattr(event, name) for name in EVENT_COLUMNS[2:]}


def _row(found: Cluster) -> dict[str, Any]:
    return {
        "name": found.name,
        "status": str(found.status),
        "nodes": len(found.nodes),
        "created_at": found.created_at,
        "reason": found.reason or None,
    }


def _shown(found: Cluster, output: str) -> dict[str, Any]:
    """Everything in JSON and YAML; in text, one line for each node and no progress, which the user has seen."""
    from moorage.clusters import spec_file

    shown: dict[str, Any] = {
        "name": found.name,
        "status": str(found.status),
        "reason": found.reason or None,
        "api_url": found.api_url or None,
        "created_at": found.created_at,
        "nodes": [asdict(node) for node in found.nodes],
        "spec": spec_file.dump(found.spec) if found.spec else {},
        "progress": _steps(found.progress),
    }
    if output == "table":
        shown["spec"]["groups"] = [f"{group['name']}: {group['count']}" for group in shown["spec"].get("groups", ())]
        shown["nodes"] = [f"{n.name}  {n.address or '-'}  {_readiness(n.ready, n.server)}" for n in found.nodes]
        del shown["progress"]
        if not found.reason:
            del shown["reason"]
    return shown


def _readiness(ready: bool | None, server: str) -> str:
    if ready is None:
        return f"server {server}"
    return "Ready" if ready else f"not Ready, server {server}"


def _steps(steps: tuple[Progress, ...]) -> list[dict[str, Any]]:
    return [asdict(step) for step in steps]
