"""Serve CSI on a Unix socket, and translate all our errors to gRPC codes in one place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from moorage.csi.codes import format_error, status_code
from moorage.model.errors import MoorageError

THREADS = 32  # concurrent calls: each may wait for the cloud

log = logging.getLogger(__name__)


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
