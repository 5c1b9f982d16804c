"""The services' databases: created and migrated once for a set of package versions, then copied from the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moorage.local import configuration, mariadb
from moorage.local.layout import Layout
from moorage.local.lock import exclusive
from moorage.local.secrets import ensure
from moorage.local.serve.dependencies import wait_for_socket
from moorage.local.services import SERVICES, Service
from moorage.model.errors import Failed

STAMP = "moorage-schema"
# Exit codes of steps that are done already (Nova's "nova-manage" reference, on cells v2).
ALREADY_DONE = {"create_cell": 2}
# Each migration uses one core; Nova and Neutron take about as long as all others together.
SECOND_STREAM = frozenset({"nova", "neutron"})


def fingerprint() -> str:
    """Return sixteen hex digits that change with the version of any installed package."""
    site = Path(sysconfig.get_paths()["purelib"])
    installed = sorted(entry.name for entry in site.iterdir() if entry.suffix == ".dist-info")
    return hashlib.sha256("\n".join([*installed, sys.version, mariadb.DAEMON]).encode()).hexdigest()[:16]


def prepare(layout: Layout, report: Callable[[str], None]) -> None:
    """Ensure that `<state>/mysql` has every database at the installed version.

    A new state is copied from the cache; an existing state of other versions is migrated in place. Failed.
    """
    current = fingerprint()
    if not layout.mysql.exists():
        source = ensure_cached(layout.cache / "cloud", current, report)
        report("copying the databases")
        part = layout.mysql.with_name("mysql.part")
        shutil.rmtree(part, ignore_errors=True)
        _copy(source, part)
        part.rename(layout.mysql)
    stamp = layout.mysql / STAMP
    if (stamp.read_text() if stamp.exists() else "") != current:
        migrate(layout.mysql, report)
        stamp.write_text(current)


def ensure_cached(cache: Path, current: str, report: Callable[[str], None]) -> Path:
    """A data folder with empty, migrated databases, created when it does not exist; returns its path."""
    ready = cache / current / "mysql"
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(cache / "lock", report, "another process is preparing the databases"):
        if not ready.exists():
            part = cache / f"{current}.part"
            shutil.rmtree(part, ignore_errors=True)
            report("creating the databases (once)")
            mariadb.initialize(part / "mysql")
            migrate(part / "mysql", report)
            (part / "mysql" / STAMP).write_text(current)
            part.rename(cache / current)
            _delete_other_versions(cache, current)
    return ready


def _delete_other_versions(cache: Path, current: str) -> None:
    for other in cache.iterdir():
        if other.is_dir() and other.name != current:
            shutil.rmtree(other, ignore_errors=True)


def migrate(data: Path, report: Callable[[str], None]) -> None:
    """Run every migration with a temporary server on `data`, in two parallel streams; Failed."""
    # A short path: the name of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="moorage-") as scratch:
        layout = Layout(Path(scratch), Path(scratch) / "run", Path(scratch))
        layout.create_folders()
        configuration.write(layout, ensure(layout.secrets), configuration.ConfigOverrides(datapath="netdev"))
        with _run_server(data, layout):
            mariadb.create_databases(layout.mysql_socket, [name for s in SERVICES for name in s.databases])
            _Migrations(layout, report).run()


@contextmanager
def _run_server(data: Path, layout: Layout) -> Iterator[None]:
    """A database server for the duration of the block, stopped cleanly so that its files can be copied."""
    with open(layout.log / "mariadb.log", "wb") as log:
        server = subprocess.Popen(
            mariadb.command(data, layout.mysql_socket, layout.run),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for_socket(layout.mysql_socket, timeout=60)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


@dataclass
class _Migrations:
    layout: Layout
    report: Callable[[str], None]

    def run(self) -> None:
        self.failures: list[str] = []
        self.completed = 0
        self.total = sum(len(s.migrations) for s in SERVICES)
        streams = (
            [s for s in SERVICES if s.name in SECOND_STREAM],
            [s for s in SERVICES if s.name not in SECOND_STREAM],
        )
        threads = [threading.Thread(target=self._stream, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise Failed(f"a database migration failed: {self.failures[0]}", "moorage cloud doctor")

    def _stream(self, services: list[Service]) -> None:
        for entry in services:
            for migration in entry.migrations:
                if self.failures:
                    return
                self.report(f"creating the databases (once): {entry.name}, {self.completed} of {self.total} steps done")
                self._migrate(entry, migration)
                self.completed += 1

    def _migrate(self, entry: Service, migration: tuple[str, ...]) -> None:
        etc = str(self.layout.etc / entry.name)
        program, *arguments = (part.format(etc=etc) for part in migration)
        environment = {
            **program_environment(),
            **{k: v.format(etc=etc) for k, v in entry.environment.items()},
        }
        result = subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments],
            capture_output=True,
            text=True,
            env=environment,
        )
        if result.returncode not in (0, *(code for word, code in ALREADY_DONE.items() if word in arguments)):
            messages = [text.strip().splitlines()[-1] for text in (result.stdout, result.stderr) if text.strip()]
            self.failures.append(f"{program} {' '.join(arguments[2:4])}: {'; '.join(messages) or 'no message'}")


def program_environment() -> dict[str, str]:
    """The environment of Moorage's Python programs: this process's, with bytecode written and a UTF-8 locale."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON"))}
    return {
        **inherited,
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def _copy(source: Path, target: Path) -> None:
    command = ["cp", "-a", "--sparse=always", "--reflink=auto", str(source), str(target)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failed(f"the databases could not be copied: {result.stderr.strip().splitlines()[-1]}")
