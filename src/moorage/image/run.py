"""Run a program."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from moorage.model.errors import Failed, NotFound


def run(command: Sequence[str | Path], hint: str = "") -> str:
    """Run a program and return its stdout; NotFound without it, Failed with the tail of its output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NotFound(f"{words[0]} is not installed", f"apt-get install {words[0]}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise Failed(f"{words[0]} failed (exit {done.returncode}):\n{tail}", hint)
    return done.stdout
