"""The size of a volume: the request in whole units of the backend."""

from __future__ import annotations

from moorage.model.errors import BadInput

GIB = 2**30


class SizeOutOfRange(BadInput):
    """The backend cannot create a size in the requested range."""


def choose_size(required: int, limit: int, unit: int = GIB) -> int:
    """Bytes: the smallest whole number of units, at least one, that has `required` bytes; `limit` 0 means none.

    SizeOutOfRange (CSI's OUT_OF_RANGE) when that exceeds the limit or the range is invalid.
    """
    if required < 0 or limit < 0:
        raise SizeOutOfRange(f"a volume cannot have {min(required, limit)} bytes")
    if limit and required > limit:
        raise SizeOutOfRange(f"at least {required} bytes were requested and at most {limit}")
    size = max(1, -(-required // unit)) * unit
    if limit and size > limit:
        raise SizeOutOfRange(f"at most {limit} bytes were requested; the smallest possible size is {size}")
    return size


def is_in_range(size: int, required: int, limit: int) -> bool:
    """Whether an existing volume's size is in the requested range; `limit` 0 means none."""
    return size >= required and (not limit or size <= limit)
