"""Things in memory whose changes take their time: a change is complete after some looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Resource(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Resource)


@dataclass
class _Transition(Generic[T]):
    """What a thing becomes, None for gone, after so many more looks."""

    then: T | None
    polls: int


class ResourceStore(Generic[T]):
    """Things by id, in the order in which they were made."""

    def __init__(self) -> None:
        self._things: dict[str, T] = {}
        self._changes: dict[str, _Transition[T]] = {}

    def begin(self, now: T, then: T | None, polls: int) -> None:
        """Put a thing that is `now` so and `then` so."""
        self._things[now.id] = now
        self._changes[now.id] = _Transition(then, polls)

    def settle(self, now: T) -> None:
        """Put a thing that stays as it is."""
        self._things[now.id] = now
        self._changes.pop(now.id, None)

    def alter(self, id: str, change: Callable[[T], T]) -> None:
        """Change a thing as it is and as it will be."""
        self._things[id] = change(self._things[id])
        coming = self._changes.get(id)
        if coming is not None and coming.then is not None:
            coming.then = change(coming.then)

    def peek(self, id: str) -> T | None:
        """A thing as it is, without a look."""
        return self._things.get(id)

    def peek_all(self) -> list[T]:
        return list(self._things.values())

    def get(self, id: str) -> T | None:
        """A thing as it is; its change comes nearer by that."""
        seen = self._things.get(id)
        change = self._changes.get(id)
        if seen is not None and change is not None:
            self._age(seen, change)
            return self._things.get(id)
        return seen

    def list(self) -> list[T]:
        looked = [self.get(id) for id in list(self._things)]
        return [thing for thing in looked if thing is not None]

    def _age(self, seen: T, change: _Transition[T]) -> None:
        change.polls -= 1
        if change.polls >= 0:
            return
        del self._changes[seen.id]
        if change.then is None:
            del self._things[seen.id]
        else:
            self._things[seen.id] = change.then
