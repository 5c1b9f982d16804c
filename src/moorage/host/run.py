"""Run a program of the host."""

from __future__ import annotations

import os
import subprocess


class HostError(Exception):
    """A program of the host failed. The message has the command and the tail of its output."""


def run(*command: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a program and return its stdout; HostError when it fails, unless `check` is false."""
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and result.returncode != 0:
        raise HostError(f"{' '.join(command)}: {(result.stderr or result.stdout).strip()[-500:]}")
    return result.stdout


def attempt(*command: str) -> tuple[int, str]:
    """Run a program in English, without stdin; returns its exit code and all its output."""
    english = os.environ | {"LC_ALL": "C"}
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=english)
    return result.returncode, (result.stdout + result.stderr).strip()
