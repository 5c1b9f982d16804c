"""Nova's cells, which have the servers; cell0 has those that were never built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def contexts(admin: Any) -> Iterator[tuple[Any, Any]]:
    """Iterate over the cells, each with a context for its database."""
    from nova import context
    from nova.objects import CellMappingList

    for cell in CellMappingList.get_all(admin):
        with context.target_cell(admin, cell) as cell_context:
            yield cell, cell_context
