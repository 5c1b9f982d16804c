"""The database's container image, run for real: as in its pod, but without Kubernetes. Needs root."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from moorage.catalog import database
from moorage.catalog.database import Login
from moorage.config import Paths
from moorage.image import debian_container
from moorage.model.errors import Failed
from outside import outside
from waiting import until

pytestmark = pytest.mark.functional

ROOM = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t proc none "$ROOT/proc"
mount -t tmpfs -o mode=755 none "$ROOT/dev"
mkdir "$ROOT/dev/shm"
mount -t tmpfs -o mode=1777 none "$ROOT/dev/shm"
for name in null zero random urandom; do
    touch "$ROOT/dev/$name"
    mount --bind "/dev/$name" "$ROOT/dev/$name"
done
mount -t tmpfs -o mode=2777,gid=999 none "$ROOT/run/postgresql"
mount -t tmpfs -o mode=2777,gid=999 none "$ROOT/tmp"
mount --bind "$SECRET" "$ROOT/run/secrets/postgres"
mount --bind "$VOLUME" "$ROOT/var/lib/postgresql"
exec setpriv --no-new-privs chroot --userspec="$RUN_AS" "$ROOT" "$@"
"""
BUILD = """
import sys
from pathlib import Path
from moorage.image import debian_container
debian_container.build(debian_container.read(Path(sys.argv[1])), Path(sys.argv[2]), print)
"""
PLACES = ("proc", "dev", "tmp", "run/postgresql", "run/secrets/postgres", "var/lib/postgresql")
"""What runc makes for the mounts of a pod."""


class Pod:
    """The image's root in its own namespaces, with a persistent volume and a password."""

    def __init__(self, root, config, folder):
        self.root, self.config, self.folder = root, config, folder
        self.port = free_port()
        for made in ("volume", "secret"):
            (folder / made).mkdir()
            os.chown(folder / made, 0, 999)
            (folder / made).chmod(0o2775)
        (folder / "secret/password").write_text("s3cret")
        os.chown(folder / "secret/password", 0, 999)
        (folder / "secret/password").chmod(0o440)
        self.login = Login("127.0.0.1", "s3cret", self.port)
        settings = dict(setting.split("=", 1) for setting in config["Env"])
        self.environment = settings | {
            "PATH": f"{settings['PATH']}:{os.environ['PATH']}",
            "ROOT": str(root),
            "VOLUME": str(folder / "volume"),
            "SECRET": str(folder / "secret"),
            "RUN_AS": config["User"],
        }

    @contextmanager
    def running(self):
        """Yield the pod's first process, and check that all its processes end."""
        words = ["unshare", "--mount", "--pid", "--ipc", "--fork", "sh", "-c", ROOM, "sh"]
        words += [*self.config["Entrypoint"], "-c", f"port={self.port}"]
        with (self.folder / "log").open("a") as log:
            outer = subprocess.Popen(words, env=self.environment, stdout=log, stderr=log)
        (first,) = until(lambda: children(outer.pid), seconds=10)
        try:
            yield first
        finally:
            if children(outer.pid) == [first]:
                os.kill(first, signal.SIGKILL)  # the kernel ends whatever else is in its namespace
            outer.wait(20)

    def inside(self, first, *words):
        """Run a program as `kubectl exec` does."""
        room = [
            "nsenter",
            f"--target={first}",
            "--mount",
            "--pid",
            "--ipc",
            "chroot",
            f"--userspec={self.config['User']}",
        ]
        done = subprocess.run(
            [*room, self.root, "env", f"PGPORT={self.port}", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def sql(self, first, text):
        code, reported = self.inside(first, "psql", "--no-align", "--tuples-only", "--command", text)
        assert code == 0, reported
        return reported

    @property
    def log(self):
        return (self.folder / "log").read_text()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def ended(pid):
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="module")
def image(own_network, tmp_path_factory):
    """The image's root, unpacked, and its configuration."""
    recipe, cache = debian_container.read(database.FOLDER), Paths.from_environment(os.environ).cache
    if not debian_container.built(recipe, cache):
        subprocess.run(outside(sys.executable, "-c", BUILD, str(database.FOLDER), str(cache)), check=True)
    folder = tmp_path_factory.mktemp("image")
    words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-decompress"]
    subprocess.run([*words, debian_container.reference(recipe, cache), f"dir:{folder}/dir"], check=True)
    manifest = json.loads((folder / "dir/manifest.json").read_text())
    blobs = [manifest["config"], *manifest["layers"]]
    config, layer = (folder / "dir" / blob["digest"].removeprefix("sha256:") for blob in blobs)
    with tarfile.open(layer) as tar:
        tar.extractall(folder / "root", filter="fully_trusted")
    for place in PLACES:
        (folder / "root" / place).mkdir(parents=True, exist_ok=True)
    yield folder / "root", json.loads(config.read_text())["config"]
    shutil.rmtree(folder)


@pytest.fixture
def pod(image, tmp_path):
    return Pod(*image, tmp_path)


def first_row(pod):
    return until(lambda: tried(pod.login), seconds=30)


def tried(login):
    try:
        return database.add_row(login)
    except ConnectionError:
        return 0


def test_every_program_finds_its_libraries(image):
    root, _ = image
    programs = [*(root / "usr/lib/postgresql/15/bin").iterdir(), *(root / "usr/lib/postgresql/15/lib").glob("*.so")]
    assert len(programs) > 60
    for program in programs:
        done = subprocess.run(
            ["chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", f"/{program.relative_to(root)}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "not found" not in done.stdout + done.stderr, program.name


def test_rows_survive_every_end_of_the_pod(pod):
    with pod.running() as first:
        assert first_row(pod) == 1
        os.kill(first, signal.SIGKILL)
        until(lambda: ended(first), seconds=10)
    with pod.running() as first:
        assert first_row(pod) == 2
        assert "was not properly shut down" in pod.log
        began = time.monotonic()
        os.kill(first, getattr(signal, pod.config["StopSignal"]))
        until(lambda: ended(first), seconds=10)
        assert time.monotonic() - began < 5
    assert "database system is shut down" in pod.log.splitlines()[-1]
    with pod.running():
        assert first_row(pod) == 3
    assert pod.log.count("automatic recovery in progress") == 1


def test_database_has_expected_settings(pod):
    with pod.running() as first:
        first_row(pod)
        settings = ("data_checksums", "fsync", "synchronous_commit", "full_page_writes", "jit", "password_encryption")
        asked = ", ".join(f"current_setting('{name}')" for name in settings)
        assert pod.sql(first, f"SELECT {asked}") == "on|on|on|on|off|scram-sha-256"
        assert pod.sql(first, "SELECT current_user, pg_encoding_to_char(encoding) FROM pg_database LIMIT 1") == (
            "postgres|UTF8"
        )
        status = dict(line.split(":", 1) for line in Path(f"/proc/{first}/status").read_text().splitlines())
        assert status["Uid"].split() == ["999"] * 4
        assert int(status["CapEff"], 16) == 0


def test_features_with_libraries_and_data_work(pod):
    with pod.running() as first:
        first_row(pod)
        pod.sql(first, "CREATE EXTENSION pgcrypto")
        assert pod.sql(first, "SELECT encode(digest('a', 'sha1'), 'hex') LIKE '86f7e4%'") == "t"
        pod.sql(first, "CREATE COLLATION german (provider = icu, locale = 'de')")
        assert pod.sql(first, "SELECT 'ä' < 'z' COLLATE german") == "t"
        assert pod.sql(first, "SELECT to_tsvector('english', 'rows written')") == "'row':1 'written':2"
        assert pod.sql(first, "SELECT '2026-07-01 12:00Z'::timestamptz AT TIME ZONE 'Europe/Berlin'").endswith(
            "14:00:00"
        )
        assert pod.sql(first, "SELECT xpath('/a/text()', '<a>b</a>')") == "{b}"


def test_probes_distinguish_running_database(pod):
    with pod.running() as first:
        first_row(pod)
        alive = ("sh", "-c", "pg_isready --quiet; test $? -ne 2")
        assert pod.inside(first, "pg_isready", "--quiet") == (0, "")
        assert pod.inside(first, *alive) == (0, "")
        assert pod.inside(first, "env", "PGPORT=1", *alive)[0] != 0


def test_wrong_password_is_rejected(pod):
    with pod.running():
        first_row(pod)
        with pytest.raises(Failed, match="password authentication failed"):
            database.add_row(Login("127.0.0.1", "guess", pod.port))


@pytest.mark.parametrize(
    "moment", [pytest.param(0.2, marks=pytest.mark.faults), 0.6, pytest.param(1.0, marks=pytest.mark.faults)]
)
def test_interrupted_first_start_is_repeated(pod, moment):
    with pod.running() as first:
        time.sleep(moment)
        os.kill(first, signal.SIGKILL)
    with pod.running():
        assert first_row(pod) == 1
    assert [path.name for path in (pod.folder / "volume").iterdir()] == ["data"]
