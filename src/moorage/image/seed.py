"""The initial store of a cluster, with what every API server of this version writes first.

A new API server writes about two hundred objects of its own, mainly its default roles, one after the other and each to
the disk: more than a second of a control plane's first boot. They are the same in every cluster. So the image build
writes them once, with this API server and this etcd, and removes what differs between clusters (namespaces, leases,
addresses).
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from moorage.image.release import Release
from moorage.image.run import run
from moorage.model.errors import Failed

KEPT = (
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "flowschemas",
    "prioritylevelconfigurations",
    "priorityclasses",
)
PEER = "unix:///run/etcd/peer.sock"
"""The member's address in etcd.service, which the store contains."""
PATIENCE = 120.0


def seed(folder: Path, release: Release, report: Callable[[str], None]) -> Path:
    """The store's `member` folder, created once for a release. Failed when the API server does not start."""
    made = folder / f"seed-{release.hash}"
    if made.exists():
        return made
    report("node image: reading an API server's default roles")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="seed-") as scratch:
        work = Path(scratch)
        with _etcd(work, release) as client:
            with _api_server(work, release, client) as port:
                _wait_until_ready(port, work / "kube-apiserver.log")
            _keep_what_is_common(release, client)
        _shrink(work / "etcd/member")
        (work / "etcd/member").rename(made)
    return made


def uncommon(keys: list[str]) -> list[str]:
    """The keys of the store that differ between clusters."""
    return [key for key in keys if key and not key.startswith(tuple(f"/registry/{kind}/" for kind in KEPT))]


@contextlib.contextmanager
def _etcd(work: Path, release: Release) -> Iterator[str]:
    client, peer = f"unix://{work}/client.sock", f"unix://{work}/peer.sock"
    flags = {
        "name": "control-plane",
        "data-dir": work / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": PEER,
        "initial-cluster": f"control-plane={PEER}",
    }
    with _running(release.program("etcd"), flags, work / "etcd.log"):
        yield client


@contextlib.contextmanager
def _api_server(work: Path, release: Release, store: str) -> Iterator[int]:
    key, port = work / "tokens.key", _free_port()
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])
    flags = {
        "etcd-servers": store,
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "cert-dir": work / "certificates",
        "authorization-mode": "Node,RBAC",
        "endpoint-reconciler-type": "none",
        "service-cluster-ip-range": "10.96.0.0/16",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
    }
    with _running(release.program("kube-apiserver"), flags, work / "kube-apiserver.log"):
        yield port


@contextlib.contextmanager
def _running(program: Path, flags: dict[str, object], log: Path) -> Iterator[None]:
    command = [str(program), *(f"--{name}={value}" for name, value in flags.items())]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(port: int, log: Path) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=trusting, timeout=5):
                return
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if time.monotonic() > end:
                raise Failed(f"the API server did not start:\n{log.read_text()[-800:]}") from error
            time.sleep(0.1)


def _keep_what_is_common(release: Release, client: str) -> None:
    control: list[str | Path] = [release.program("etcdctl"), f"--endpoints={client}"]
    keys = run([*control, "get", "/", "--prefix", "--keys-only"]).splitlines()
    for key in uncommon(keys):
        run([*control, "del", key])
    if not any(key.startswith("/registry/clusterroles/") for key in keys):
        raise Failed("the API server wrote no roles to its store")


def _shrink(member: Path) -> None:
    """Make it small: truncate the zeros that etcd reserves in logs, and drop its spare files."""
    for reserve in member.glob("wal/*.tmp"):
        reserve.unlink()
    for log in member.glob("wal/*.wal"):
        content = log.read_bytes().rstrip(b"\0")
        log.write_bytes(content + b"\0" * (-len(content) % 4096))
    if not list(member.glob("wal/*.wal")):
        shutil.rmtree(member)
        raise Failed("etcd left no log")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
