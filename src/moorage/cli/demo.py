"""`moorage demo`: the local cloud with a cluster and an application on it, in one command."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from moorage.cli.cloud import local_cloud
from moorage.cli.context import Context, pass_context
from moorage.cli.output import emit, output_option, progress
from moorage.model.errors import Failed, NotFound, TimedOut

Report = Callable[[str], None]

CLUSTER = "demo"
WORKERS = 2
CLOUD = "moorage"
REGISTRY = "172.24.4.1:5080"
GATEWAY_CIDR = "172.24.4.0/24"
IMAGE = "registry.local/hello:1"
NODE_PORT = 30080
ANSWER_TIMEOUT = 120.0
EXAMPLE = Path(__file__).parents[3] / "examples" / "hello"
BUSYBOX = Path("/bin/busybox")
"""Debian's busybox-static: the example's web server."""


@dataclass(frozen=True)
class Demo:
    """What runs, and how long each step took, in seconds."""

    cloud: str
    project: str
    cluster: str
    api: str
    application: str
    answer: str
    took: dict[str, float]


@click.group()
def demo() -> None:
    """The local cloud with a cluster and an application on it.

    `up` does what is not done yet, so it can be stopped and given again at any time.
    """


@demo.command()
@output_option
@pass_context
def up(context: Context, output: str) -> None:
    """Bring up a real OpenStack here, the cluster `demo` on it, and an application on that."""
    context = replace(context, cloud_name=CLOUD)
    with progress() as report:
        made = _running(context) or _bring_up(context, report)
    if output == "table":
        _say(made)
    else:
        emit(output, asdict(made))


@demo.command()
@pass_context
def down(context: Context) -> None:
    """Stop everything; `up` brings back the same cloud, cluster and data."""
    with progress() as report:
        local_cloud(context.paths).down(report)


@demo.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_context
def reset(context: Context, yes: bool) -> None:
    """Stop everything and leave nothing behind but the cache."""
    if not yes and context.paths.state.exists():
        click.confirm("Delete the local cloud with every cluster and volume on it?", abort=True, err=True)
    project = _project(context)
    with progress() as report:
        local_cloud(context.paths).reset(report)
    _forget(context, project)


def _record(context: Context) -> Path:
    return context.paths.state / "demo.json"


def _running(context: Context) -> Demo | None:
    """What runs, when all of it does: every service is ready and the application answers."""
    began = time.monotonic()
    try:
        known = json.loads(_record(context).read_text())
        healthy = all(service.health == "ready" for service in local_cloud(context.paths).status())
        answer = _ask(known["application"], 2.0) if healthy else ""
    except OSError:
        return None
    took = {"everything ran already": time.monotonic() - began}
    return Demo(**{**known, "answer": answer, "took": took}) if answer else None


def _bring_up(context: Context, report: Report) -> Demo:
    from moorage.clusters import kubeconfig, reconcile
    from moorage.model.cluster import ClusterSpec

    clock = _Clock()
    _build(context, report, clock)
    local_cloud(context.paths).up(report)
    clock.lap("the cloud")
    cloud, connect, data = context.cloud(), context.connect_kube, context.paths.data
    mirrors = {IMAGE.split("/")[0]: f"http://{REGISTRY}"}
    spec = ClusterSpec(CLUSTER, workers=WORKERS, registry_mirrors=mirrors, node_port_cidr=GATEWAY_CIDR)
    with ThreadPoolExecutor(1) as pool:
        pushed = pool.submit(_push, context)
        made = reconcile.create(cloud, connect, data, spec, report)
        pushed.result()
    clock.lap("the cluster")
    access = reconcile.access(cloud, connect, data, CLUSTER)
    path = kubeconfig.default_path(os.environ)
    kubeconfig.write(path, kubeconfig.merged(kubeconfig.read(path), CLUSTER, access))
    report("starting the application")
    _apply(context, kubeconfig.text(kubeconfig.alone(CLUSTER, access)))
    address = made.api_url.removeprefix("https://").split(":")[0]
    application = f"http://{address}:{NODE_PORT}/cgi-bin/hello"
    answer = _await_answer(application, report)
    clock.lap("the application")
    result = Demo(CLOUD, cloud.project, CLUSTER, made.api_url, application, answer, clock.laps)
    _record(context).write_text(json.dumps(asdict(result)))
    return result


class _Clock:
    def __init__(self) -> None:
        self.since = time.monotonic()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self.since, 1)
        self.since = now


def _build(context: Context, report: Report, clock: _Clock) -> None:
    """The release and the image; while Go builds, the cloud starts for the first time beside it."""
    from moorage.image.node_image import build_image, find_image
    from moorage.image.release import build, find_release

    cache = context.paths.cache
    if _is_there(find_image, cache):
        return
    if not _is_there(find_release, cache):
        with ThreadPoolExecutor(1) as pool:
            release = pool.submit(build, cache, report=report)
            local_cloud(context.paths).up(lambda text: None)
            release.result()
        local_cloud(context.paths).down(report)  # it has no registry yet
    build_image(cache, find_release(cache), report)
    clock.lap("Kubernetes and the node image")


def _is_there(find: Callable[[Path], object], cache: Path) -> bool:
    try:
        find(cache)
    except NotFound:
        return False
    return True


def _push(context: Context) -> None:
    """Build the example's container image and push it to the local cloud's registry."""
    from moorage.image.containers import ContainerImage, File, Link, tree, write_archive

    applets = ("sh", "httpd", "printf")
    entries = (
        *tree(EXAMPLE / "root"),
        File("bin/busybox", BUSYBOX),
        *(Link(f"bin/{name}", "busybox") for name in applets),
    )
    command = ("/bin/httpd", "-f", "-p", "8080", "-h", "/www")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "hello.tar"
        write_archive(ContainerImage(IMAGE, entries, command, user="1000"), archive)
        target = f"docker://{REGISTRY}/{IMAGE.split('/', 1)[1]}"
        words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        _run([*words, f"docker-archive:{archive}", target], "moorage cloud logs registry")


def _apply(context: Context, kubeconfig: str) -> None:
    """Apply the example's manifests with the release's kubectl."""
    from moorage.image.release import find_release

    kubectl = find_release(context.paths.cache).program("kubectl")
    with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
        file.write(kubeconfig)
        file.flush()
        words = [str(kubectl), "--kubeconfig", file.name, "apply", "--filename", str(EXAMPLE / "hello.yaml")]
        _run(words, f"moorage cluster show {CLUSTER}")


def _run(words: list[str], hint: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{Path(words[0]).name} failed: {done.stderr.strip()[-500:]}", hint)


def _await_answer(url: str, report: Report) -> str:
    report(f"waiting for the application to answer on {url}")
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while time.monotonic() < deadline:
        try:
            return _ask(url, 1.0)
        except OSError:
            time.sleep(0.2)
    raise TimedOut(f"{url} did not answer within {ANSWER_TIMEOUT:.0f} s", "kubectl get pods -o wide")


def _ask(url: str, timeout: float) -> str:
    # The floating IP is on this machine: whatever proxy the environment names is for others.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        return str(answer.read().decode().strip())


def _project(context: Context) -> str | None:
    """The local cloud's project, whose clusters' keys lie in the person's home; None when there was no demo."""
    try:
        return str(json.loads(_record(context).read_text())["project"])
    except FileNotFoundError:
        return None


def _forget(context: Context, project: str | None) -> None:
    """Drop what the demo left in the person's home: the project's keys and the kubeconfig entry."""
    import shutil

    from moorage.clusters import kubeconfig

    if project:
        shutil.rmtree(context.paths.data / "clusters" / project, ignore_errors=True)
    path = kubeconfig.default_path(os.environ)
    if path.exists():
        kubeconfig.write(path, kubeconfig.without(kubeconfig.read(path), CLUSTER))


def _say(made: Demo) -> None:
    click.echo()
    emit(
        "table",
        {
            "cloud": f"a real OpenStack on this machine; --os-cloud {made.cloud} (tenant), moorage-admin",
            "cluster": f"{made.cluster}, Kubernetes at {made.api}",
            "application": made.application,
            "it says": made.answer,
            "took": "\n".join(f"{name}: {seconds:.1f} s" for name, seconds in made.took.items()),
        },
    )
    click.echo(
        "\nTry next:\n"
        "  kubectl get pods -o wide\n"
        f"  curl {made.application}\n"
        f"  moorage --cloud {made.cloud} cluster show {made.cluster}"
    )
