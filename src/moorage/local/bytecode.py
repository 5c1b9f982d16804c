"""Compile Python's bytecode once for a set of packages. Without it every start takes twice as long."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from moorage.local.databases import fingerprint, program_environment

# Tests of the services, which nothing imports.
UNUSED = re.compile(r"/(tests?|testing)/")


def compile_once(report: Callable[[str], None]) -> None:
    """Compile the environment's packages, unless these versions have been compiled already."""
    stamp = Path(sys.prefix) / "moorage-bytecode"
    current = fingerprint()
    if stamp.exists() and stamp.read_text() == current:
        return
    report("compiling Python's bytecode (once)")
    packages = sysconfig.get_paths()["purelib"]
    # Packages that contain syntax for other versions do not compile; that is not an error.
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "-j", "0", "-x", UNUSED.pattern, packages],
        capture_output=True,
        env=program_environment(),
    )
    stamp.write_text(current)
