"""A store of resources in memory with changes that take time: a change completes after some reads."""

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
    """What a resource becomes after some more reads; None for deleted."""

    then: T | None
    polls: int


class ResourceStore(Generic[T]):
    """Resources by id, in the order of their creation."""

    def __init__(self) -> None:
        self._resources: dict[str, T] = {}
        self._changes: dict[str, _Transition[T]] = {}

    def begin(self, now: T, then: T | None, polls: int) -> None:
        """Put a resource that is `now`, and becomes `then`."""
        self._resources[now.id] = now
        self._changes[now.id] = _Transition(then, polls)

    def put(self, now: T) -> None:
        """Put a resource that does not change."""
        self._resources[now.id] = now
        self._changes.pop(now.id, None)

    def alter(self, id: str, change: Callable[[T], T]) -> None:
        """Change a resource's present and future state."""
        self._resources[id] = change(self._resources[id])
        coming = self._changes.get(id)
        if coming is not None and coming.then is not None:
            coming.then = change(coming.then)

    def peek(self, id: str) -> T | None:
        """A resource's state, without advancing its change."""
        return self._resources.get(id)

    def peek_all(self) -> list[T]:
        return list(self._resources.values())

    def get(self, id: str) -> T | None:
        """A resource's state; the read advances its change."""
        seen = self._resources.get(id)
        change = self._changes.get(id)
        if seen is not None and change is not None:
            self._age(seen, change)
            return self._resources.get(id)
        return seen

    def list(self) -> list[T]:
        resources = [self.get(id) for id in list(self._resources)]
        return [resource for resource in resources if resource is not None]

    def _age(self, seen: T, change: _Transition[T]) -> None:
        change.polls -= 1
        if change.polls >= 0:
            return
        del self._changes[seen.id]
        if change.then is None:
            del self._resources[seen.id]
        else:
            self._resources[seen.id] = change.then
