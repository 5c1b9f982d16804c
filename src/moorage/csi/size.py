"""How large a volume becomes: what was asked for, in whole units of the backend."""

from __future__ import annotations

from moorage.model.errors import BadInput

GIB = 2**30


class SizeOutOfRange(BadInput):
    """No size that the backend can make lies in the range that was asked for."""


def chosen(required: int, limit: int, unit: int = GIB) -> int:
    """Bytes: the least whole number of units, one at least, that holds `required`; `limit` 0 means none.

    Raises SizeOutOfRange (CSI's OUT_OF_RANGE) when that would exceed the limit or the range makes no sense.
    """
    if required < 0 or limit < 0:
        raise SizeOutOfRange(f"a volume cannot have {min(required, limit)} bytes")
    if limit and required > limit:
        raise SizeOutOfRange(f"at least {required} bytes were asked for and at most {limit}")
    size = max(1, -(-required // unit)) * unit
    if limit and size > limit:
        raise SizeOutOfRange(f"at most {limit} bytes were asked for; the least that fits is {size}")
    return size


def fits(size: int, required: int, limit: int) -> bool:
    """Whether a volume that is there already is what was asked for."""
    return size >= required and (not limit or size <= limit)
