"""The example without state: a page that names the pod and the node that answered."""

from __future__ import annotations

import tempfile
import time
import urllib.request
from pathlib import Path

from moorage.catalog.build import Report, push
from moorage.catalog.names import EXAMPLES, REGISTRY_HOST
from moorage.model.errors import TimedOut

MANIFEST = EXAMPLES / "hello" / "hello.yaml"
IMAGE = f"{REGISTRY_HOST}/hello:1"
NODE_PORT = 30080
ANSWER_TIMEOUT = 120.0
ANSWERS_NEEDED = 20
"""Answers in a row, each from any of the four pods: after a power failure some are listed that have not started yet."""
BUSYBOX = Path("/bin/busybox")
"""Debian's busybox-static: the example's web server."""


def url(address: str) -> str:
    """The page's URL, on a node's floating IP."""
    return f"http://{address}:{NODE_PORT}/cgi-bin/hello"


def push_image() -> None:
    """Build the container image and push it to the local cloud's registry."""
    from moorage.image.containers import ContainerImage, File, Link, tree, write_archive

    applets = ("sh", "httpd", "printf")
    entries = (
        *tree(EXAMPLES / "hello" / "root"),
        File("bin/busybox", BUSYBOX),
        *(Link(f"bin/{name}", "busybox") for name in applets),
    )
    command = ("/bin/httpd", "-f", "-p", "8080", "-h", "/www")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "hello.tar"
        write_archive(ContainerImage(IMAGE, entries, command, user="1000"), archive)
        push(f"docker-archive:{archive}", IMAGE)


def await_answer(page: str, report: Report) -> str:
    """The page's text, once it answers every time."""
    report(f"waiting for the application to answer on {page}")
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while time.monotonic() < deadline:
        try:
            return [ask(page, 1.0) for _ in range(ANSWERS_NEEDED)][-1]
        except OSError:
            time.sleep(0.2)
    raise TimedOut(f"{page} did not answer within {ANSWER_TIMEOUT:.0f} s", "kubectl get pods -o wide")


def ask(page: str, timeout: float) -> str:
    # The floating IP is on this machine, so a proxy from the environment is not used.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(page, timeout=timeout) as answer:
        return str(answer.read().decode().strip())
