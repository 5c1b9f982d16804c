"""Remove the counter of a healthy boot's slot, so that the firmware may always choose it."""

from __future__ import annotations

from moorage.model.boot import RECORD, TRIES, BootRecord, Slot
from moorage.node import files
from moorage.node.layout import Layout
from moorage.node.slots import booted_slot, write_record


def bless(layout: Layout) -> str | None:
    """Bless the slot that was booted; returns its name with its version, or None when there is nothing to bless.

    Once for each boot: later the other slot may have a new image, which was not passed over.
    """
    try:
        name = booted_slot(layout)
        record = _read(layout, name)
    except FileNotFoundError:
        return None
    good = record if layout.blessed.exists() else record.blessed(name)
    if good != record:
        write_record(layout, good)
    files.write(layout.blessed, files.File(f"{name}\n"))
    slot = good.slot(name)
    return str(slot) if slot else None


def _read(layout: Layout, slot: str) -> BootRecord:
    """The record; of a damaged one what is known, so that it is written again."""
    try:
        return BootRecord.parse((layout.boot / RECORD).read_bytes())
    except ValueError:
        return BootRecord((Slot(slot, layout.version.read_text().strip(), TRIES),))
