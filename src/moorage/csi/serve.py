"""Serve CSI on a Unix socket, and translate all our errors to gRPC codes in one place.

Kubernetes' sidecars decide by the code: INVALID_ARGUMENT and OUT_OF_RANGE end an attempt to create, ABORTED and
UNAVAILABLE are repeated soon, and DEADLINE_EXCEEDED means that the work continues.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from moorage.csi.backend import NameTaken
from moorage.csi.locks import CallInProgress
from moorage.csi.messages import BadToken
from moorage.csi.node.access import Incompatible
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


THREADS = 32  # concurrent calls: each may wait for the cloud
log = logging.getLogger(__name__)


def status_code(error: MoorageError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def format_error(error: MoorageError) -> str:
    """The text of the Event that the sidecar records: the error's message and its hint."""
    return f"{error.message}: {error.hint}" if error.hint else error.message


class ErrorTranslator(grpc.ServerInterceptor):  # type: ignore[misc,unused-ignore]
    """Ends a call that raised a MoorageError with the error's code and message."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _translate_errors(details.method, handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _translate_errors(name: str, method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(request: Any, context: Any) -> Any:
        try:
            return method(request, context)
        except MoorageError as error:
            log.warning("%s: %s: %s", name.rpartition("/")[2], status_code(error).name, format_error(error))
            return context.abort(status_code(error), format_error(error))

    return call


def serve(socket: Path, add: Callable[[Any], None]) -> Any:
    """Start a server on the socket and return it; `add` registers the services.

    It replaces the socket of a server that has ended. RuntimeError when it cannot listen there. `stop(grace)` of the
    result stops it: running calls get `grace` seconds.
    """
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="csi"), interceptors=[ErrorTranslator()])
    add(server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return server
