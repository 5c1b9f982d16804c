"""supervisord runs the programs: it restarts those that die, and rotates their output."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from moorage.local.databases import program_environment
from moorage.local.layout import Layout
from moorage.local.programs import Program
from moorage.model.errors import Failed, NotFound

START_TIMEOUT = 20.0
STOP_TIMEOUT = 90.0
CALL_TIMEOUT = 120.0


@dataclass(frozen=True)
class ProgramState:
    """One program as supervisord sees it; `state` is supervisord's (RUNNING, BACKOFF, FATAL …)."""

    name: str
    state: str
    pid: int
    description: str


def configuration(layout: Layout, programs: Sequence[Program]) -> str:
    """supervisord's configuration file; `%` is doubled, because supervisord expands values."""
    blocks = [
        f"""\
[supervisord]
directory={layout.programs}
pidfile={layout.supervisor_pid}
logfile={layout.log}/supervisor.log
logfile_maxbytes=5MB
logfile_backups=2
childlogdir={layout.log}
umask=077
silent=true

[unix_http_server]
file={layout.supervisor_socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
""".replace("%", "%%"),
        *(_program_section(layout, program) for program in programs),
    ]
    return "\n".join(blocks)


def _program_section(layout: Layout, program: Program) -> str:
    return f"""\
[program:{program.name}]
command={" ".join(_quote(part) for part in program.command)}
environment={",".join(f'{key}="{value}"' for key, value in program.environment.items())}
directory={layout.programs}
priority={program.priority}
startsecs=1
startretries=1000
autorestart=true
stopwaitsecs={program.stop_seconds}
redirect_stderr=true
stdout_logfile={layout.log}/{program.name}.out
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=2
""".replace("%", "%%")


def _quote(part: str) -> str:
    return f"'{part}'" if any(c in part for c in ' ;"') else part


class Supervisor:
    """The supervisor of one run folder, over its socket."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @property
    def alive(self) -> bool:
        try:
            self._call("getPID")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def start(self, programs: Sequence[Program]) -> None:
        """Start supervisord with every program; returns when it answers. Failed."""
        self._file.write_text(configuration(self.layout, programs))
        self.layout.supervisor_socket.unlink(missing_ok=True)
        result = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._file)],
            capture_output=True,
            text=True,
            cwd=self.layout.programs,
            env=program_environment(),
        )
        if result.returncode != 0:
            raise Failed(f"the supervisor did not start: {(result.stderr or result.stdout).strip()[-300:]}")
        deadline = time.monotonic() + START_TIMEOUT
        while not self.alive:
            if time.monotonic() > deadline:
                raise Failed("the supervisor does not answer", f"see {self.layout.log}/supervisor.log")
            time.sleep(0.05)

    def program_states(self) -> dict[str, ProgramState]:
        """Return the state of every program by name; empty when the supervisor does not run."""
        try:
            processes = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        except (OSError, xmlrpc.client.Error):
            return {}
        return {p["name"]: ProgramState(p["name"], p["statename"], p["pid"], p["description"]) for p in processes}

    def restart(self, name: str) -> None:
        """Stop one program and start it again; NotFound."""
        if name not in self.program_states():
            raise NotFound(f"no program {name}", "moorage cloud status")
        with suppress(xmlrpc.client.Fault):
            self._call("stopProcess", name, True)
        self._call("startProcess", name, True)

    def stop(self, *names: str) -> None:
        """Stop programs, all at once, without restarting them; ignores those that do not run."""
        for name in names:
            with suppress(OSError, xmlrpc.client.Error):
                self._call("stopProcess", name, False)
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline:
            running = self.program_states()
            if not any(running[name].pid for name in names if name in running):
                return
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Stop all running programs, and then the supervisor."""
        self.stop(*self.program_states())
        with suppress(OSError, xmlrpc.client.Error):
            self._call("shutdown")
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        self._file.unlink(missing_ok=True)

    @property
    def stopped_cleanly(self) -> bool:
        """Whether no supervisor has run here, or the last one was shut down; else its programs may still run."""
        return not self._file.exists()

    @property
    def _file(self) -> Path:
        return self.layout.run / "supervisor.conf"

    def update(self, programs: Sequence[Program]) -> None:
        """Start new programs, and remove those that are no longer in the table."""
        text = configuration(self.layout, programs)
        if not self.stopped_cleanly and self._file.read_text() == text:
            return
        self._file.write_text(text)
        added, _, removed = self._call("reloadConfig")[0]
        for name in removed:
            self._call("stopProcess", name, True)
            self._call("removeProcessGroup", name)
        for name in added:
            self._call("addProcessGroup", name)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = _UnixTransport(self.layout.supervisor_socket)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=CALL_TIMEOUT)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(CALL_TIMEOUT)
        try:
            connection.sock.connect(str(self.path))
        except OSError:
            connection.sock.close()
            raise
        self._connection = host, connection
        return connection


def remaining_processes(layout: Layout) -> list[int]:
    """Processes that a supervisor of this run folder started, itself included, whatever their parent is now.

    They are found by their working folder, which no server's process has: processes can overwrite their environment and
    command line, and some projects do.
    """
    working_folders = {str(layout.programs), str(layout.mysql)}
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if str((folder / "cwd").readlink()) in working_folders:
                    pids.append(int(folder.name))
    return pids


def stop_leftovers(layout: Layout, timeout: float = 15.0) -> None:
    """Stop what a dead supervisor left: by SIGTERM, then by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(remaining_processes(layout), number)
        deadline = time.monotonic() + timeout
        while remaining_processes(layout) and time.monotonic() < deadline:
            time.sleep(0.1)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
