"""The commands of the demo, and the summary that they print."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict

import click

from moorage.catalog import database, record
from moorage.catalog import demo as catalog
from moorage.catalog.build import build as build_all
from moorage.catalog.names import CLUSTER
from moorage.catalog.record import Demo
from moorage.cli.cloud import local_cloud
from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress


@click.group()
def demo() -> None:
    """The local cloud with a cluster, an application and a database.

    `up` does what is not done yet, so you can interrupt it and run it again at any time.
    """


@demo.command()
@output_option
@pass_context
def up(context: Context, output: str) -> None:
    """Start a real OpenStack, the cluster `demo` on it, and an application and a database on that."""
    site = catalog.Site(context.paths, lambda: local_cloud(context.paths), context.connect_cloud, context.connect_kube)
    with progress() as report:
        made = catalog.running(site) or catalog.bring_up(site, report)
    if output == "table":
        _print_summary(made)
    else:
        emit(output, asdict(made))


@demo.command()
@pass_context
def build(context: Context) -> None:
    """Build what `up` needs, if missing: the programs, the node image, the database's image.

    `up` does this too; after this it needs no network but this machine's own.
    """
    with progress() as report:
        build_all(context.paths, lambda: local_cloud(context.paths), database.FOLDER, report)


@demo.command()
@pass_context
def down(context: Context) -> None:
    """Stop everything; `up` starts the same cloud, cluster and data again."""
    with progress() as report:
        local_cloud(context.paths).down(report)


@demo.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@pass_context
def reset(context: Context, yes: bool) -> None:
    """Stop everything and delete everything except the cache."""
    if not yes and context.paths.state.exists():
        click.confirm("Delete the local cloud with every cluster and volume on it?", abort=True, err=True)
    project = record.project(context.paths.state)
    with progress() as report:
        local_cloud(context.paths).reset(report)
    _forget(context, project)


def _forget(context: Context, project: str | None) -> None:
    """Delete what the demo wrote in the user's home: the project's keys and the kubeconfig entry."""
    from moorage.kube import kubeconfig

    if project:
        shutil.rmtree(context.paths.data / "clusters" / project, ignore_errors=True)
    path = kubeconfig.default_path(os.environ)
    if path.exists():
        kubeconfig.write(path, kubeconfig.remove(kubeconfig.read(path), CLUSTER))


def _print_summary(made: Demo) -> None:
    click.echo()
    emit("table", summary(made))
    click.echo(
        "\nTry next:\n"
        "  kubectl get pods -o wide\n"
        f"  curl {made.application}\n"
        "  kubectl exec -it postgres-0 -- psql\n"
        f"  moorage --cloud {made.cloud} cluster show {made.cluster}"
    )


def summary(made: Demo) -> dict[str, str]:
    """What runs, line by line."""
    rows = made.database.rows
    return {
        "cloud": f"a real OpenStack on this machine; --os-cloud {made.cloud} (tenant), moorage-admin",
        "cluster": f"{made.cluster}, Kubernetes at {made.api}",
        "application": made.application,
        "it says": made.answer,
        "database": f"PostgreSQL at {made.database.host}:{made.database.port}, a row for each start",
        "it holds": f"{rows} row" if rows == 1 else f"{rows} rows",
        "took": "\n".join(f"{name}: {seconds:.1f} s" for name, seconds in made.took.items()),
    }
