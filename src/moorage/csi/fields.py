"""Required fields of a request."""

from __future__ import annotations

from moorage.model.errors import BadInput


def require_field(value: str, field: str) -> str:
    """The field's value; BadInput when it is empty."""
    if not value:
        raise BadInput(f"no {field} was given")
    return value
