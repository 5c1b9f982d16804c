"""Boot entries: which node image boots next, and how many attempts it has left.

The rules are the Boot Loader Specification's (type #1 entries, "Boot counting", "Sorting"), as far as Moorage needs
them. An entry is `<id>[+<left>[-<done>]].conf`. Without a counter it is blessed; with no attempts left it is bad.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

FILE_NAME = re.compile(r"(?P<id>.+?)(?:\+(?P<left>\d+)(?:-(?P<done>\d+))?)?\.conf")
SLOT_OPTION = "moorage.slot="
TRIES = 3


@dataclass(frozen=True)
class Entry:
    """One boot entry. `left` is None for a blessed one; `slot` is the image's path on the boot partition."""

    id: str
    version: str
    slot: str
    left: int | None = None
    done: int = 0
    fields: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, filename: str, text: str) -> Entry:
        """Parse an entry; ValueError when the name or the text is not one of ours."""
        name = FILE_NAME.fullmatch(filename)
        if name is None:
            raise ValueError(f"{filename} is not the name of a boot entry")
        lines = (line.strip().partition(" ") for line in text.splitlines() if line.strip()[:1] not in ("", "#"))
        fields = tuple((key, value.strip()) for key, _, value in lines)
        options = " ".join(value for key, value in fields if key == "options").split()
        slots = [word.removeprefix(SLOT_OPTION) for word in options if word.startswith(SLOT_OPTION)]
        if not slots:
            raise ValueError(f"{filename} has no {SLOT_OPTION}… among its options")
        version = dict(fields).get("version", "")
        left = None if name["left"] is None else int(name["left"])
        return cls(name["id"], version, slots[0], left, int(name["done"] or 0), fields)

    @property
    def bad(self) -> bool:
        """Whether every attempt has failed."""
        return self.left == 0

    @property
    def filename(self) -> str:
        if self.left is None:
            return f"{self.id}.conf"
        return f"{self.id}+{self.left}{f'-{self.done}' if self.done else ''}.conf"


def new(version: str) -> tuple[Entry, str]:
    """The entry of a node image that was just written to its slot, and the entry's text."""
    slot = f"/slots/{version}.squashfs"
    text = (
        f"title Moorage {version}\nversion {version}\nsort-key moorage\narchitecture x64\noptions {SLOT_OPTION}{slot}\n"
    )
    return Entry(f"moorage-{version}", version, slot, TRIES), text


def choose(entries: Iterable[Entry]) -> Entry | None:
    """The entry to boot: the newest version, a bad one only when all are bad; None without entries.

    The specification sorts bad entries last and keeps them: an image that may not boot is better than no image.
    """
    return max(entries, key=lambda entry: (not entry.bad, version_key(entry.version)), default=None)


def counted_down(entry: Entry) -> Entry:
    """The entry after an attempt has begun; blessed and bad ones do not change."""
    if not entry.left:
        return entry
    return replace(entry, left=entry.left - 1, done=entry.done + 1)


def blessed(entry: Entry) -> Entry:
    """The entry after its image has come up healthy."""
    return replace(entry, left=None, done=0)


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that compares numbers and words in turn, so that 1.10 is newer than 1.9."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
