"""Lists in pages: a page's token is the handle that it starts after, so that a deletion shifts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from moorage.model.errors import BadInput

T = TypeVar("T")
PREFIX = "after:"


class BadToken(BadInput):
    """The token is not one that a list returned; CSI's ABORTED."""


def paginate(rows: Sequence[tuple[str, T]], token: str, limit: int) -> tuple[list[T], str]:
    """The rows after a token, at most `limit` of them (0: all), and the next token ("" at the end).

    `rows` are pairs of handle and object, in any order; pages are sorted by handle.
    """
    if limit < 0:
        raise BadInput(f"a page cannot hold {limit} entries")
    if token and not token.startswith(PREFIX):
        raise BadToken(f"{token!r} is not a token of a list")
    after = token.removeprefix(PREFIX)
    remaining = sorted((row for row in rows if row[0] > after), key=lambda row: row[0])
    entries = remaining[:limit] if limit else remaining
    next_token = PREFIX + entries[-1][0] if len(entries) < len(remaining) else ""
    return [item for _, item in entries], next_token
