"""The demo's parts that need no cloud."""

import base64
import json
import os
import socket
import stat
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from moorage.catalog import build, database, demo, hello, record
from moorage.catalog.database import Login
from moorage.catalog.kubectl import Kubectl
from moorage.catalog.record import Database, Demo
from moorage.cli.demo import summary
from moorage.config import Paths
from moorage.image import debian_container
from moorage.model.errors import BadInput, Failed, TimedOut

pytestmark = pytest.mark.unit

DEMO = Demo(
    "moorage",
    "p1",
    "demo",
    "https://172.24.4.20:6443",
    "http://172.24.4.20:30080/cgi-bin/hello",
    "hello from hello-x on demo-workers-1-0",
    Database("172.24.4.31", 5432, 1),
    {"the cloud": 13.0, "the database": 4.25},
)
LOGIN = Login("127.0.0.1", "s3cret")


def test_summary_has_database_address_and_rows():
    shown = summary(DEMO)
    assert shown["database"] == "PostgreSQL at 172.24.4.31:5432, a row for each start"
    assert shown["it holds"] == "1 row"
    assert summary(replace(DEMO, database=Database("a", 1, 2)))["it holds"] == "2 rows"
    assert shown["took"] == "the cloud: 13.0 s\nthe database: 4.2 s"


class TestRecord:
    def test_record_is_read_back_and_private(self, tmp_path):
        record.write(tmp_path, DEMO, "s3cret")
        assert record.read(tmp_path) == (DEMO, "s3cret")
        assert record.project(tmp_path) == "p1"
        (file,) = tmp_path.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_missing_record_is_none(self, tmp_path):
        assert record.read(tmp_path) is None
        assert record.project(tmp_path) is None

    @pytest.mark.parametrize(
        "text", ["", "[]", '{"project": "p1", "cloud": "moorage"}', '{"password": "x", "database": {"host": "a"}}']
    )
    def test_old_or_damaged_record_is_none(self, tmp_path, text):
        (tmp_path / "demo.json").write_text(text)
        assert record.read(tmp_path) is None

    def test_old_record_has_the_project(self, tmp_path):
        (tmp_path / "demo.json").write_text('{"project": "p1", "cloud": "moorage"}')
        assert record.project(tmp_path) == "p1"


KUBECTL = """#!/bin/sh
echo "$@" >> "$0.called"
case "$3" in
get) case "$4" in secret) cat "$0.secret" 2>/dev/null || :;; *) printf 172.24.4.31;; esac;;
create) cat > "$0.created";;
wait) if [ -e "$0.late" ]; then echo "error: timed out waiting" >&2; exit 1; fi;;
esac
"""


@pytest.fixture
def kubectl(tmp_path):
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    return Kubectl(program, tmp_path / "kubeconfig")


def beside(kubectl, name):
    return Path(f"{kubectl.program}.{name}")


class TestPassword:
    def test_first_time_creates_random_password(self, kubectl):
        made = database.password(kubectl)
        secret = json.loads(beside(kubectl, "created").read_text())
        assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "postgres")
        assert secret["stringData"] == {"password": made}
        assert len(made) >= 32
        assert made not in beside(kubectl, "called").read_text()

    def test_existing_password_is_kept(self, kubectl):
        there = {"data": {"password": base64.b64encode(b"kept").decode()}}
        beside(kubectl, "secret").write_text(json.dumps(there))
        assert database.password(kubectl) == "kept"
        assert not beside(kubectl, "created").exists()


class TestAddress:
    def test_address_is_services_floating_ip(self, kubectl):
        reported = []
        assert database.await_address(kubectl, reported.append) == "172.24.4.31"
        assert reported == ["waiting for the database's load balancer"]

    def test_missing_address_is_reported_with_kubectls_error(self, kubectl):
        beside(kubectl, "late").touch()
        with pytest.raises(TimedOut, match=r"no address after 180 s: .*timed out waiting") as raised:
            database.await_address(kubectl, lambda text: None)
        assert raised.value.hint == "kubectl describe service postgres"


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(database.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(database.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds


class TestRow:
    def test_row_is_written_once_database_answers(self, monkeypatch):
        clock, answers = Clock(monkeypatch), iter([ConnectionError("refused"), ConnectionError("starting up"), 7])

        def add_row(login):
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(database, "add_row", add_row)
        assert database.await_row(LOGIN, lambda text: None) == 7
        assert clock.now == pytest.approx(0.4)

    def test_row_not_written_in_time_is_reported_with_reason(self, monkeypatch):
        clock = Clock(monkeypatch)

        def add_row(login):
            raise ConnectionError("the database system is starting up")

        monkeypatch.setattr(database, "add_row", add_row)
        with pytest.raises(TimedOut, match="no row within 180 s: the database system is starting up"):
            database.await_row(LOGIN, lambda text: None)
        assert clock.now >= 180

    @pytest.mark.parametrize("state", ["57P03", "57P01", "53300", "08006"])
    def test_transient_error_is_retried(self, state):
        assert isinstance(database.error_for({"C": state, "M": "not now"}), ConnectionError)

    @pytest.mark.parametrize("state", ["28P01", "42501", ""])
    def test_permanent_error_is_reported_at_once(self, state):
        refused = database.error_for({"C": state, "M": "password authentication failed"})
        assert isinstance(refused, Failed)
        assert "password authentication failed" in refused.message

    def test_closed_port_is_a_connection_error(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}"):
            database.count(replace(LOGIN, port=port), 1.0)

    @pytest.mark.parametrize("reported", [b"", b"R\0\0"], ids=["nothing", "half a message"])
    def test_closed_connection_is_a_connection_error(self, reported):
        def hang_up(server):
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(reported)

        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=hang_up, args=(server,)).start()
            with pytest.raises(ConnectionError):
                database.count(replace(LOGIN, port=server.getsockname()[1]), 1.0)


class Cloud:
    """A local cloud of which only this is asked."""

    def __init__(self, running=True, health="ready", seen=None, nodes=3):
        self.running, self.health, self.seen, self.nodes = running, health, seen, nodes

    def machines(self):
        return ["other-control-plane-0", *(f"demo-{number}" for number in range(self.nodes))]

    def status(self):
        if self.seen:
            raise self.seen
        return [SimpleNamespace(health="ready"), SimpleNamespace(health=self.health)]


def no_connection(_):
    pytest.fail("a running demo is checked without a connection to the cloud")


@pytest.fixture
def already(tmp_path, monkeypatch):
    """Whether all runs, with answers that can be changed."""
    paths = Paths(*(tmp_path / name for name in "csrd"))
    paths.state.mkdir()
    record.write(paths.state, DEMO, "s3cret")
    given = SimpleNamespace(cloud=Cloud(), answer="hello", rows=3, asked=[])

    def answer(kind, login):
        given.asked.append(login)
        if isinstance(kind, Exception):
            raise kind
        return kind

    monkeypatch.setattr(hello, "ask", lambda page, timeout: answer(given.answer, page))
    monkeypatch.setattr(database, "count", lambda login, timeout: answer(given.rows, login))
    given.look = lambda: demo.running(demo.Site(paths, lambda: given.cloud, no_connection, no_connection))
    return given


class TestRunning:
    def test_running_demo_is_checked(self, already):
        found = already.look()
        assert (found.answer, found.database) == ("hello", Database("172.24.4.31", 5432, 3))
        assert list(found.took) == ["everything was running"]
        assert Login("172.24.4.31", "s3cret", 5432) in already.asked

    @pytest.mark.parametrize(
        "problem",
        [
            {"answer": ConnectionRefusedError()},
            {"rows": ConnectionError("hung up")},
            {"rows": Failed("no such table")},
            {"cloud": Cloud(health="does not answer")},
            {"cloud": Cloud(nodes=2)},
        ],
        ids=["application", "database", "table", "health", "nodes"],
    )
    def test_demo_with_one_problem_is_not_running(self, already, problem):
        vars(already).update(problem)
        assert already.look() is None

    def test_stopped_cloud_is_not_checked(self, already):
        already.cloud = Cloud(running=False)
        assert already.look() is None
        assert already.asked == []

    def test_cloud_without_permission_raises(self, already):
        already.cloud = Cloud(seen=BadInput("the local cloud needs root"))
        with pytest.raises(BadInput, match="needs root"):
            already.look()


class TestBuild:
    def test_build_with_everything_present_builds_nothing(self, tmp_path, monkeypatch):
        made = debian_container.read(database.FOLDER).layout(tmp_path)
        made.mkdir(parents=True)
        (made / "index.json").touch()
        monkeypatch.setattr("moorage.image.node_image.find_image", lambda *_: object())
        assert build.build(paths(tmp_path), no_connection, database.FOLDER, pytest.fail) is False

    def test_build_with_missing_container_image_builds_only_that(self, tmp_path, monkeypatch):
        seen = []
        monkeypatch.setattr("moorage.image.node_image.find_image", lambda *_: object())
        monkeypatch.setattr(debian_container, "build", lambda recipe, cache, report: seen.append(recipe.name))
        assert build.build(paths(tmp_path), no_connection, database.FOLDER, lambda text: None) is True
        assert seen == ["registry.local/postgres:15"]

    def test_push_uses_name_in_registry(self, tmp_path, monkeypatch):
        skopeo = tmp_path / "skopeo"
        skopeo.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
        skopeo.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        build.push("oci:/c/postgres:15", "registry.local/postgres:15")
        assert (tmp_path / "called").read_text().split()[-2:] == [
            "oci:/c/postgres:15",
            "docker://172.24.4.1:5080/postgres:15",
        ]


def paths(home):
    return Paths.from_environment({"HOME": str(home), "MOORAGE_CACHE": str(home)})
