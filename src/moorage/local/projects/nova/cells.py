"""Nova's cells, which have the servers; cell0 has those that were never built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def each(admin: Any) -> Iterator[tuple[Any, Any]]:
    """Every cell with a context for its database, in turn."""
    from nova import context
    from nova.objects import CellMappingList

    for cell in CellMappingList.get_all(admin):
        with context.target_cell(admin, cell) as inside:
            yield cell, inside
