"""A look into a server of a local cloud: its machine container runs on this very box."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from moorage.local.machine import life
from moorage.local.machine.spec import Machine, load
from waiting import until


@dataclass(frozen=True)
class Inside:
    """One machine; whatever still runs in it ends with its server."""

    machine: Machine

    @classmethod
    def of(cls, state: Path, server: str) -> Inside | None:
        """The machine of a server of the cloud that has its state there; None when it runs elsewhere."""
        folder = state / "machines" / server
        return cls(load(folder)) if folder.exists() else None

    @property
    def pid(self) -> int:
        found = life.pid(self.machine)
        assert found, f"{self.machine.hostname} does not run: {self.machine.console.read_text(errors='replace')}"
        return found

    @property
    def enter(self) -> tuple[str, ...]:
        """What stands before a command that is to run there."""
        return ("nsenter", f"--target={self.pid}", "--all", "--")

    def path(self, path: Path) -> Path:
        """A file or folder of its own, as we reach it: sockets, too."""
        return Path(f"/proc/{self.pid}/root{path}")

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run([*self.enter, *words], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def boot(self) -> None:
        """Wait until systemd has started its default units."""
        until(lambda: self.run("systemctl", "is-active", "multi-user.target", check=False) == "active", seconds=30)
