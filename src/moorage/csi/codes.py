"""The gRPC codes of our errors: one table for all calls of the driver.

Kubernetes' sidecars decide by the code: INVALID_ARGUMENT and OUT_OF_RANGE end an attempt to create, ABORTED and
UNAVAILABLE are repeated soon, and DEADLINE_EXCEEDED means that the work continues.
"""

from __future__ import annotations

import grpc

from moorage.csi.backend import NameTaken
from moorage.csi.locks import CallInProgress
from moorage.csi.node.access import Incompatible
from moorage.csi.pages import BadToken
from moorage.csi.size import SizeOutOfRange
from moorage.model.errors import BadInput, Conflict, MoorageError, NotFound, QuotaExceeded, TimedOut, Unreachable

# The first match counts: subclasses come before their base classes.
CODES: tuple[tuple[type[MoorageError], grpc.StatusCode], ...] = (
    (CallInProgress, grpc.StatusCode.ABORTED),
    (BadToken, grpc.StatusCode.ABORTED),
    (NameTaken, grpc.StatusCode.ALREADY_EXISTS),
    (Incompatible, grpc.StatusCode.ALREADY_EXISTS),
    (SizeOutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (BadInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (QuotaExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (Unreachable, grpc.StatusCode.UNAVAILABLE),
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (MoorageError, grpc.StatusCode.INTERNAL),
)


def status_code(error: MoorageError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def format_error(error: MoorageError) -> str:
    """The text of the Event that the sidecar records: the error's message and its hint."""
    return f"{error.message}: {error.hint}" if error.hint else error.message
