"""Rows of a local cloud's database that are held, so that a service can be killed where it writes to one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import MySQLdb

from waiting import until


@contextmanager
def asked(home: Any) -> Iterator[Any]:
    """A cursor of the database of the cloud of that home."""
    connection = MySQLdb.connect(unix_socket=str(home.run_folder / "mysql.sock"), user="root", autocommit=True)
    try:
        yield connection.cursor()
    finally:
        connection.close()


def kill_where_it_writes(database: Any, row: str, values: Sequence[Any], pid: int) -> None:
    """Lock the one row of this SELECT until a process waits for it, and kill that process then."""
    database.execute("BEGIN")
    assert database.execute(f"{row} FOR UPDATE", values) == 1
    until(lambda: _is_waited_for(database), seconds=30)
    os.kill(pid, signal.SIGKILL)
    database.execute("ROLLBACK")


def _is_waited_for(database: Any) -> bool:
    database.execute(
        "SELECT COUNT(*) FROM information_schema.INNODB_LOCK_WAITS"
        " JOIN information_schema.INNODB_TRX ON trx_id = blocking_trx_id WHERE trx_mysql_thread_id = CONNECTION_ID()"
    )
    return bool(database.fetchone()[0])
