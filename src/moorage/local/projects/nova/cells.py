"""Nova's cells, which hold the servers; cell0, where those lie that never began, is not counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def inside_each(admin: Any) -> Iterator[Any]:
    """A context of each cell's database in turn."""
    from nova import context
    from nova.objects import CellMappingList

    for cell in CellMappingList.get_all(admin):
        if not cell.is_cell0():
            with context.target_cell(admin, cell) as inside:
                yield inside
