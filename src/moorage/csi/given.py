"""What a request must say."""

from __future__ import annotations

from moorage.model.errors import BadInput


def given(value: str, field: str) -> str:
    """The field's value; BadInput when it was left out."""
    if not value:
        raise BadInput(f"no {field} was given")
    return value
