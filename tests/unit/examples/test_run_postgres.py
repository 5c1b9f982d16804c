"""The script that starts the example's database, with programs that stand for PostgreSQL's."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).parents[3] / "examples/postgres/root/usr/local/bin/run-postgres"
INITDB = """#!/bin/sh
for word; do case $word in --pgdata=*) data=${word#*=};; --pwfile=*) password=${word#*=};; esac; done
echo "$@" >> "$LOG/initdb"
mkdir "$data" && echo 15 > "$data/PG_VERSION"
if [ -e "$LOG/cut-off" ]; then rm "$LOG/cut-off"; kill -9 $PPID; exit 1; fi
cat "$password" > "$data/made-with"
"""
POSTGRES = """#!/bin/sh
echo "$$ $@" >> "$LOG/postgres"
trap 'echo fast >> "$LOG/postgres"; exit 0' INT
[ ! -e "$LOG/stay" ] || while :; do sleep 0.05; done
"""


class Pod:
    """A volume, a password, and a place where the programs say how they were called."""

    def __init__(self, folder):
        self.folder, self.volume, self.log = folder, folder / "volume", folder / "log"
        for made in (self.volume, self.log, folder / "bin"):
            made.mkdir()
        (folder / "password").write_text("s3cret")
        for name, text in (("initdb", INITDB), ("postgres", POSTGRES)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "POSTGRES_VOLUME": str(self.volume),
            "POSTGRES_PASSWORD_FILE": str(folder / "password"),
            "POSTGRES_SOCKETS": str(folder / "sockets"),
        }

    def start(self, *words):
        return subprocess.run([SCRIPT, *words], env=self.environment, capture_output=True, text=True, check=False)

    def reported(self, program):
        file = self.log / program
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def pod(tmp_path):
    return Pod(tmp_path)


def test_empty_volume_gets_data_folder(pod):
    (pod.volume / "lost+found").mkdir()
    assert pod.start().returncode == 0
    (called,) = pod.reported("initdb")
    assert {"--data-checksums", "--auth-host=scram-sha-256", "--username=postgres"} < set(called.split())
    assert (pod.volume / "data/made-with").read_text() == "s3cret"
    assert (pod.volume / "data").stat().st_mode & 0o777 == 0o700
    assert (pod.folder / "sockets").is_dir()
    assert sorted(path.name for path in pod.volume.iterdir()) == ["data", "lost+found"]


def test_data_folder_is_created_once(pod):
    pod.start()
    (pod.volume / "data/rows").write_text("kept")
    (pod.volume / "data").chmod(0o2770)  # as kubelet does for the pod's group
    assert pod.start().returncode == 0
    assert len(pod.reported("initdb")) == 1
    assert len(pod.reported("postgres")) == 2
    assert (pod.volume / "data/rows").read_text() == "kept"
    assert (pod.volume / "data").stat().st_mode & 0o777 == 0o700


def test_incomplete_data_folder_is_recreated(pod):
    (pod.log / "cut-off").touch()
    assert pod.start().returncode == -signal.SIGKILL
    assert [path.name for path in pod.volume.iterdir()] == ["data.unfinished"]
    assert pod.reported("postgres") == []
    assert pod.start().returncode == 0
    assert [path.name for path in pod.volume.iterdir()] == ["data"]
    assert (pod.volume / "data/made-with").read_text() == "s3cret"


def test_missing_password_starts_nothing(pod):
    (pod.folder / "password").unlink()
    assert pod.start().returncode != 0
    assert pod.reported("postgres") == []
    (pod.folder / "password").write_text("later")
    assert pod.start().returncode == 0
    assert (pod.volume / "data/made-with").read_text() == "later"


def test_postgres_replaces_script_process(pod):
    (pod.log / "stay").touch()
    # Where the tests run in the background, SIGINT is ignored, and a shell cannot take that back.
    command = ["env", "--default-signal=INT", SCRIPT, "-c", "port=5433"]
    with subprocess.Popen(command, env=pod.environment) as running:
        while not pod.reported("postgres"):
            assert running.poll() is None
        (called,) = pod.reported("postgres")
        assert called == (
            f"{running.pid} -D {pod.volume}/data -c config_file=/etc/postgresql/postgresql.conf -c port=5433"
        )
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 0
    assert pod.reported("postgres")[1:] == ["fast"]
