"""One MariaDB for all services: over a Unix socket for root only, so it needs no password."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from moorage.model.errors import Failed

DAEMON = "/usr/sbin/mariadbd"


def command(data: Path, socket: Path, run: Path) -> tuple[str, ...]:
    """The server on `data`, listening on `socket`, in the foreground.

    A crash of the process loses nothing (the log is written at every commit); a power failure loses up to a second.
    """
    return (
        DAEMON,
        "--no-defaults",
        "--user=root",
        f"--datadir={data}",
        f"--socket={socket}",
        f"--pid-file={run}/mariadb.pid",
        f"--tmpdir={run}",
        "--skip-networking",
        "--skip-log-bin",
        "--performance-schema=off",
        "--character-set-server=utf8mb3",
        "--innodb-buffer-pool-size=96M",
        "--innodb-log-file-size=48M",
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-use-native-aio=0",
        # Two threads of a service can wait for one another through the database: one gives up, and tries again.
        "--innodb-lock-wait-timeout=10",
        "--innodb-fast-shutdown=1",
        "--aria-pagecache-buffer-size=2M",
        "--key-buffer-size=1M",
        "--max-connections=400",
        "--thread-cache-size=16",
        "--table-open-cache=800",
    )


def initialize(data: Path) -> None:
    """Create an empty data folder; Failed with the tail of the installer's output."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700, parents=True)
    result = subprocess.run(
        ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db",
         "--auth-root-authentication-method=socket"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    if result.returncode != 0:
        raise Failed(
            f"MariaDB's data folder could not be created in {data}: {_last_line(result.stderr or result.stdout)}"
        )


def create_databases(socket: Path, names: list[str]) -> None:
    """Create missing databases."""
    statements = ";".join(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb3" for name in names)
    result = subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--execute", statements],
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise Failed(f"the databases could not be created: {_last_line(result.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
