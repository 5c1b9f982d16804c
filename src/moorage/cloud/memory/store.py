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

    later: T | None
    polls: int


class ResourceStore(Generic[T]):
    """Resources by id, in the order of their creation."""

    def __init__(self) -> None:
        self._resources: dict[str, T] = {}
        self._transitions: dict[str, _Transition[T]] = {}

    def begin(self, now: T, later: T | None, polls: int) -> None:
        """Put a resource that is `now`, and becomes `later`."""
        self._resources[now.id] = now
        self._transitions[now.id] = _Transition(later, polls)

    def put(self, now: T) -> None:
        """Put a resource that does not change."""
        self._resources[now.id] = now
        self._transitions.pop(now.id, None)

    def update(self, id: str, change: Callable[[T], T]) -> None:
        """Change a resource's present and future state."""
        self._resources[id] = change(self._resources[id])
        transition = self._transitions.get(id)
        if transition is not None and transition.later is not None:
            transition.later = change(transition.later)

    def peek(self, id: str) -> T | None:
        """A resource's state, without advancing its change."""
        return self._resources.get(id)

    def peek_all(self) -> list[T]:
        return list(self._resources.values())

    def get(self, id: str) -> T | None:
        """A resource's state; the read advances its change."""
        resource = self._resources.get(id)
        transition = self._transitions.get(id)
        if resource is not None and transition is not None:
            self._advance(resource, transition)
            return self._resources.get(id)
        return resource

    def list(self) -> list[T]:
        resources = [self.get(id) for id in list(self._resources)]
        return [resource for resource in resources if resource is not None]

    def _advance(self, resource: T, transition: _Transition[T]) -> None:
        transition.polls -= 1
        if transition.polls >= 0:
            return
        del self._transitions[resource.id]
        if transition.later is None:
            del self._resources[resource.id]
        else:
            self._resources[resource.id] = transition.later
