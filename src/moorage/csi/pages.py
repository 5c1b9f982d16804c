"""Lists in pages: a page's token is the handle that it starts after, so that a deletion shifts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from moorage.model.errors import BadInput

T = TypeVar("T")


class BadToken(BadInput):
    """The token is not one that a list returned; CSI's ABORTED."""


def page(rows: Sequence[tuple[str, T]], token: str, most: int) -> tuple[list[T], str]:
    """The rows after a token, at most `most` of them (0: all), and the next token ("" at the end).

    `rows` are pairs of handle and object, in any order; pages are sorted by handle.
    """
    if most < 0:
        raise BadInput(f"a page cannot hold {most} entries")
    if token and not token.startswith(PREFIX):
        raise BadToken(f"{token!r} is not a token of a list")
    after = token.removeprefix(PREFIX)
    left = sorted((row for row in rows if row[0] > after), key=lambda row: row[0])
    shown = left[:most] if most else left
    following = PREFIX + shown[-1][0] if len(shown) < len(left) else ""
    return [item for _, item in shown], following


PREFIX = "after:"
