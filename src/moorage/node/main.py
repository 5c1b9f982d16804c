"""`moorage-node`: boot, bless, update, rollback."""

from __future__ import annotations

import argparse
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

    token = sys.stdin.readline().strip() if given.token_from_stdin else ""
    slot = stage(Layout(), ImageSource(given.url, given.sha256, given.version, token), Clock(), say)
    say(f"slot {slot} boots next")


def rollback(_: argparse.Namespace) -> None:
    from moorage.node.update import roll_back

    say(f"slot {roll_back(Layout())} boots next")


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "boot": boot,
    "bless": bless,
    "update": update,
    "rollback": rollback,
}


def say(line: str) -> None:
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="moorage-node", description="A node's boot, and its image.")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("boot", help="bring this node up, join its cluster, signal the stack (at every boot)")
    commands.add_parser("bless", help="call this boot a good one, for the boot loader")
    updating = commands.add_parser("update", help="fetch an image into the other slot, which boots next; resumes")
    updating.add_argument("url", help="where the image is, by HTTP")
    updating.add_argument("sha256", help="the image's hash, as in its property moorage_sha256")
    updating.add_argument("version", help="the image's version, as in its property moorage_version")
    updating.add_argument("--token-from-stdin", action="store_true", help="read a token of Keystone, for Glance")
    commands.add_parser("rollback", help="boot the other slot next, if its image was healthy")
    return made


def main() -> None:
    """Run a command; an error is one line, on the console too. The exit codes are those of `moorage`."""
    given = parser().parse_args()
    try:
        COMMANDS[given.command](given)
    except MoorageError as error:
        print(f"failed: {error.message}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
