"""`moorage-node`: boot, bless, update, rollback, switch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from moorage.model.errors import MoorageError
from moorage.node.layout import Layout


def boot(_: argparse.Namespace) -> None:
    from moorage.node.boot import boot as run
    from moorage.node.machine import Linux
    from moorage.node.waiting import Clock

    run(Layout(), Linux(), Clock(), say)


def bless(_: argparse.Namespace) -> None:
    from moorage.node.blessing import bless as run

    say(run(Layout()) or "no slot to bless")


def update(given: argparse.Namespace) -> None:
    from moorage.node.update import ImageSource, stage
    from moorage.node.waiting import Clock

    token, statement, signature = (
        os.environ.get(f"MOORAGE_{name}", "") for name in ("TOKEN", "STATEMENT", "SIGNATURE")
    )
    source = ImageSource(given.url, given.sha256, given.version, token, given.format, statement, signature)
    slot = stage(Layout(), source, Clock(), say)
    say(f"slot {slot} boots next")


def rollback(given: argparse.Namespace) -> None:
    from moorage.node.update import roll_back
    from moorage.node.waiting import Clock

    say(f"slot {roll_back(Layout(), given.version, Clock())} boots next")


def switch(_: argparse.Namespace) -> None:
    from moorage.node.machine import Linux
    from moorage.node.update import switch as run

    say("rebooting" if run(Layout(), Linux()) else "the slot that boots next is this one")


VARIABLES = """MOORAGE_TOKEN has Glance's token, MOORAGE_STATEMENT and MOORAGE_SIGNATURE the image's properties
moorage_statement and moorage_signature, if it has them."""

COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "boot": boot,
    "bless": bless,
    "update": update,
    "rollback": rollback,
    "switch": switch,
}


def say(line: str) -> None:
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="moorage-node", description="A node's boot, and its image.")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("boot", help="bring this node up, join its cluster, signal the stack (at every boot)")
    commands.add_parser("bless", help="call this boot a good one, for the boot loader")
    text = "fetch an image into the other slot, which boots next; resumes"
    updating = commands.add_parser("update", help=text, description=f"{text}. {VARIABLES}")
    updating.add_argument("url", help="where the image is, by HTTP")
    updating.add_argument("sha256", help="the hash of the file")
    updating.add_argument("version", help="the image's version, as in its property moorage_version")
    updating.add_argument("--format", default="squashfs", help="the image's property moorage_format; squashfs or disk")
    returning = commands.add_parser("rollback", help="boot the slot with another version next, if it was healthy")
    returning.add_argument("version", help="the version to return to")
    commands.add_parser("switch", help="reboot, if another slot than this one boots next")
    return made


def main() -> None:
    """Run a command; an error is one line, on the console too. The exit codes are those of `moorage`."""
    given = parser().parse_args()
    try:
        COMMANDS[given.command](given)
    except MoorageError as error:
        print(f"failed: {error.message}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
