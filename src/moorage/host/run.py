"""Run a program of the host."""

from __future__ import annotations

import os
import subprocess

from moorage.host.port import HostError


def run(*words: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a program and return its stdout; HostError when it fails, unless `check` is false."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise HostError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def attempt(*words: str) -> tuple[int, str]:
    """Run a program in English, without stdin; returns its exit code and all its output."""
    english = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=english)
    return done.returncode, (done.stdout + done.stderr).strip()
