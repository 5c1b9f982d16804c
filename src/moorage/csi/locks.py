"""One call at a time for each volume, as the CSI specification requires: a second one gets ABORTED."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from moorage.model.errors import Conflict


class CallInProgress(Conflict):
    """Another call for the same object is in progress; CSI's ABORTED."""


class Locks:
    """Names that running calls hold. `hold` does not wait: it raises CallInProgress when a name is held."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._guard = Lock()

    @contextmanager
    def hold(self, *names: str) -> Iterator[None]:
        """Hold all of these names, or none of them."""
        requested = set(names)
        with self._guard:
            if busy := requested & self._held:
                raise CallInProgress(f"a call for {', '.join(sorted(busy))} is in progress", "repeat it in a moment")
            self._held |= requested
        try:
            yield
        finally:
            with self._guard:
                self._held -= requested
