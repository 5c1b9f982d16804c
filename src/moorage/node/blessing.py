"""Remove the counter of a healthy boot's slot, so that the firmware may always choose it."""

from __future__ import annotations

import os

from moorage.model.boot import RECORD, TRIES, BootRecord, Slot
from moorage.node.layout import Layout


def bless(layout: Layout) -> str | None:
    """Bless the slot that was booted; returns its name with its version, or None when there is nothing to bless."""
    try:
        name = layout.boot_slot.read_text().strip()
        record = _read(layout, name)
    except FileNotFoundError:
        return None
    good = record.blessed(name)
    slot = next((slot for slot in good.slots if slot.name == name), None)
    if good != record:
        _write(layout.boot / RECORD, good.content())
    return str(slot) if slot else None


def _read(layout: Layout, slot: str) -> BootRecord:
    """The record; of a damaged one what is known, so that it is written again."""
    try:
        return BootRecord.parse((layout.boot / RECORD).read_bytes())
    except ValueError:
        return BootRecord((Slot(slot, layout.version.read_text().strip(), TRIES),))


def _write(file: os.PathLike[str], content: bytes) -> None:
    """Replace the file at once, also when power is lost."""
    partial = f"{os.fspath(file)}.new"
    with open(partial, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)
    folder = os.open(os.path.dirname(partial), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
