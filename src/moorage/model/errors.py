"""Every error a person may see.

MoorageError            exit code 1
├── Failed              1  something was tried and did not work
├── BadInput            2  refused before anything was touched
├── NotFound            3  what was named does not exist
├── Conflict            4  it exists already, or somebody else is at it
├── CloudUnreachable    5  a service did not answer, or refused the credentials
├── QuotaExceeded       6  the project's quota does not allow it
└── TimedOut            7  it did not happen in its time
"""

from __future__ import annotations


class MoorageError(Exception):
    """What went wrong, in plain words, and what to do next.

    `message` says what, naming the parameter or resource and its value; `hint` says what would help, or is empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Failed(MoorageError):
    """Something was tried and did not work."""


class BadInput(MoorageError):
    """Refused before anything was touched."""

    exit_code = 2


class NotFound(MoorageError):
    """What was named does not exist."""

    exit_code = 3


class Conflict(MoorageError):
    """It exists already, or somebody else is at it."""

    exit_code = 4


class CloudUnreachable(MoorageError):
    """A service did not answer, or refused the credentials; `service` is its name, as in Heat, where it is known."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "", service: str = "") -> None:
        super().__init__(message, hint)
        self.service = service


class QuotaExceeded(MoorageError):
    """The project's quota does not allow it."""

    exit_code = 6


class TimedOut(MoorageError):
    """It did not happen in its time."""

    exit_code = 7
