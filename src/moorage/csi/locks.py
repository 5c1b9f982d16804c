"""One call at a time for each volume, as the CSI specification requires: a second one gets ABORTED."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from moorage.model.errors import Conflict


class UnderWay(Conflict):
    """Another call for the same object is in progress; CSI's ABORTED."""


class Locks:
    """Names that calls hold. A name that is held raises UnderWay, without waiting."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._guard = Lock()

    @contextmanager
    def hold(self, *names: str) -> Iterator[None]:
        """Hold all of these names, or none of them."""
        wanted = set(names)
        with self._guard:
            if taken := wanted & self._held:
                raise UnderWay(f"a call for {', '.join(sorted(taken))} is in progress", "repeat it in a moment")
            self._held |= wanted
        try:
            yield
        finally:
            with self._guard:
                self._held -= wanted
