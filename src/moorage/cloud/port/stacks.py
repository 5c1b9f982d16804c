"""The port for stacks: Heat."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Stack:
    """A Heat stack. `status` is Heat's, such as CREATE_IN_PROGRESS; the values of hidden parameters are asterisks.

    Its parameters are the same as long as it has the same `updated_at`, which is empty before the first update.
    """

    id: str
    name: str
    status: str
    reason: str = ""
    created_at: str = ""
    updated_at: str = ""
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StackResource:
    """A resource of a stack or of a nested stack; `path` is its location, outermost first."""

    path: tuple[str, ...]
    type: str
    status: str
    reason: str = ""
    physical_id: str = ""


@dataclass(frozen=True)
class StackEvent:
    """A change of a stack or of one of its resources, or a signal that a resource received.

    `time` is Heat's, in UTC, as in 2026-01-02T03:04:05Z. The `path` of the stack itself is empty. `status` is as in
    CREATE_FAILED; of a signal it is SIGNAL_COMPLETE, and the reason contains its text.
    """

    time: str
    path: tuple[str, ...]
    status: str
    reason: str = ""


@dataclass(frozen=True)
class StackRequest:
    """A request for a stack: `template` and `files` are HOT texts; the timeout is Heat's, in minutes."""

    name: str
    template: str
    files: Mapping[str, str]
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    timeout_minutes: int = 60


class Stacks(Protocol):
    """The stacks of one project.

    Every call may raise CloudUnreachable; only `create` raises Conflict. Calls may be repeated.
    """

    def get(self, name: str, *, outputs: bool = False) -> Stack | None:
        """The stack of that name or id, unless it is deleted. Outputs only on request, because they take time."""
        ...

    def list(self, tag: str) -> builtins.list[Stack]:
        """All stacks with that tag, without parameters and outputs."""
        ...

    def resources(self, stack: Stack) -> builtins.list[StackResource]:
        """All resources of a stack and of its nested stacks; empty when the stack does not exist."""
        ...

    def create(self, request: StackRequest) -> None:
        """Request a stack, without waiting; Conflict when one of that name exists, BadInput when Heat rejects it.

        Heat also reports a Conflict for a moment after it has deleted one: it deletes the record last.
        """
        ...

    def delete(self, stack: Stack) -> None:
        """Request a stack's deletion, without waiting; does nothing when it does not exist."""
        ...

    def update(self, stack: Stack, parameters: Mapping[str, Any]) -> None:
        """Update the stack with these values and its other parameters; does nothing when it does not exist or is busy.

        Heat retries what failed. Without parameters, that is all. Living engines continue their work; the locks of dead
        engines are released.
        """
        ...

    def events(self, stack: Stack) -> builtins.list[StackEvent]:
        """The newest events of a stack and of its nested stacks, oldest first; empty when the stack does not exist.

        Heat keeps about a thousand for each stack. Events of members that were removed are gone with them.
        """
        ...

    def signal(self, stack: Stack, handle: str, text: str, *, failure: bool = False) -> bool:
        """Send a signal to a wait condition's handle, which Heat keeps as an event; whether Heat accepted it.

        It does not as long as the handle does not exist. The event has the first 220 characters or so, and contains
        "status:SUCCESS reason:" before them, or "status:FAILURE reason:".
        """
        ...
