"""Parse /proc/self/mountinfo (proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Threads may be in other mount namespaces: use the calling thread's.
FILE = Path("/proc/thread-self/mountinfo")


@dataclass(frozen=True)
class Line:
    """One mount. `options` are those of the mount, `super_options` those of its file system; `device` is an st_dev."""

    target: str
    device: int
    kind: str
    options: frozenset[str]
    super_options: frozenset[str]


def read() -> list[Line]:
    """All mounts that the calling thread sees, the topmost of a path last."""
    return parse(FILE.read_text().splitlines())


def parse(lines: Iterable[str]) -> list[Line]:
    return [_parse_line(line) for line in lines]


def topmost(lines: Iterable[Line], target: Path) -> Line | None:
    """The visible mount at exactly this path; links in its folders are resolved."""
    path = os.path.join(os.path.realpath(target.parent), target.name)
    return next((line for line in reversed(list(lines)) if line.target == path), None)


def _parse_line(text: str) -> Line:
    mount, _, system = text.partition(" - ")
    _, _, number, _, target, options = mount.split(" ")[:6]
    kind, _, super_options = system.split(" ")
    major, minor = map(int, number.split(":"))
    device = os.makedev(major, minor)
    return Line(_unescape(target), device, kind, frozenset(options.split(",")), frozenset(super_options.split(",")))


def _unescape(escaped: str) -> str:
    """Decode blanks and other characters, which are written as three octal digits."""
    raw = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), escaped.encode(errors="surrogateescape"))
    return os.fsdecode(raw)
