"""All errors that users see.

MoorageError            exit code 1
├── Failed              1  an operation was tried and failed
├── BadInput            2  rejected before anything was changed
├── NotFound            3  the named object does not exist
├── Conflict            4  it exists already, or another client is changing it
├── Expired             1  the Kubernetes API no longer has that resource version
├── Unreachable         5  a service did not answer, or refused the credentials
│   ├── CloudUnreachable        of OpenStack
│   └── KubernetesUnreachable   a cluster's Kubernetes API
├── QuotaExceeded       6  the project's quota does not allow it
└── TimedOut            7  it did not happen within its time limit
"""

from __future__ import annotations


class MoorageError(Exception):
    """An error for users: what went wrong, and what to do next.

    `message` names the parameter or resource and its value; `hint` says what would help, or is empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Failed(MoorageError):
    """An operation was tried and failed."""


class BadInput(MoorageError):
    """Rejected before anything was changed."""

    exit_code = 2


class NotFound(MoorageError):
    """The named object does not exist."""

    exit_code = 3


class Conflict(MoorageError):
    """It exists already, or another client is changing it."""

    exit_code = 4


class Expired(MoorageError):
    """The Kubernetes API no longer has that resource version: list again."""


class Unreachable(MoorageError):
    """A service did not answer, or refused the credentials. Raised as one of the two below."""

    exit_code = 5


class CloudUnreachable(Unreachable):
    """A service of OpenStack is unreachable; `service` is its name, such as Heat, where it is known."""

    def __init__(self, message: str, hint: str = "", service: str = "") -> None:
        super().__init__(message, hint)
        self.service = service


class KubernetesUnreachable(Unreachable):
    """A cluster's Kubernetes API is unreachable."""


class QuotaExceeded(MoorageError):
    """The project's quota does not allow it."""

    exit_code = 6


class TimedOut(MoorageError):
    """It did not happen within its time limit."""

    exit_code = 7
