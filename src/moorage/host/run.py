"""Run a program of the host; its last words when it fails."""

from __future__ import annotations

import os
import subprocess

from moorage.host.port import HostError


def run(*words: str, stdin: str | None = None, check: bool = True) -> str:
    """Run to the end and return stdout; raises HostError unless `check` is false."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise HostError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def attempt(*words: str) -> tuple[int, str]:
    """Run to the end, speaking English and asked nothing; the exit code, and all that it said."""
    english = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=english)
    return done.returncode, (done.stdout + done.stderr).strip()
