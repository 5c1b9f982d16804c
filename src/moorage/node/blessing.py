"""Remove the counter of a healthy boot's entry, so that the firmware may always choose it."""

from __future__ import annotations

import os

from moorage.model.boot import Entry, blessed
from moorage.node.layout import Layout


def bless(layout: Layout) -> str | None:
    """Rename the entry that was booted; returns its new name, or None when there is nothing to bless."""
    try:
        started = layout.boot_entry.read_text().strip().splitlines()[-1]
    except (FileNotFoundError, IndexError):
        return None
    entries = layout.boot / "loader/entries"
    current = entries / started.rpartition("/")[2]
    if not current.exists():
        return None
    good = blessed(Entry.parse(current.name, current.read_text())).filename
    if good != current.name:
        current.rename(entries / good)
        _sync(entries)
    return good


def _sync(folder: os.PathLike[str]) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
