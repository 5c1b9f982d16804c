"""`moorage-node`: boot, bless."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from moorage.model.errors import MoorageError
from moorage.node.layout import Layout

USAGE = """usage: moorage-node COMMAND

  boot      bring this node up, join its cluster, signal the stack (every boot; may be repeated)
  bless     call this boot a good one, for the boot loader
"""


def boot() -> None:
    from moorage.node.boot import boot as run
    from moorage.node.machine import Linux
    from moorage.node.waiting import Clock

    run(Layout(), Linux(), Clock(), say)


def bless() -> None:
    from moorage.node.blessing import bless as run

    say(run(Layout()) or "no slot to bless")


COMMANDS: Mapping[str, Callable[[], None]] = {"boot": boot, "bless": bless}


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Run a command; an error is one line, on the console too."""
    command = COMMANDS.get(sys.argv[1]) if len(sys.argv) == 2 else None
    if command is None:
        sys.exit(USAGE)
    try:
        command()
    except MoorageError as error:
        sys.exit(f"failed: {error.message}")
