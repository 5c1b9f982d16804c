"""Run a server of `http.server` or `socketserver` in a thread."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

Server = TypeVar("Server", bound=socketserver.BaseServer)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def folder_server(address: tuple[str, int], folder: Path) -> http.server.ThreadingHTTPServer:
    """A server of a folder's files, for `serving`."""
    return http.server.ThreadingHTTPServer(address, partial(_Quiet, directory=str(folder)))


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
