"""The HTTP server on the loopback interface: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from moorage.controller.metrics import Metrics
from moorage.model.errors import BadInput

Check = Callable[[], bool]


@dataclass(frozen=True)
class Endpoints:
    """`healthy`: no thread has died. `ready`: all informers have listed. Both return fast."""

    healthy: Check
    ready: Check
    metrics: Metrics

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        checks = {"/healthz": self.healthy, "/readyz": self.ready}
        if path in checks:
            return (200, "text/plain", b"ok\n") if checks[path]() else (503, "text/plain", b"no\n")
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self.metrics.registry)
        return 404, "text/plain", b"/healthz, /readyz, /metrics\n"


@contextmanager
def serve(endpoints: Endpoints, port: int) -> Iterator[int]:
    """Serve on 127.0.0.1 (port 0: any port), and return the port; BadInput when it is in use."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            status, content_type, body = endpoints.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise BadInput(f"cannot listen on 127.0.0.1:{port}: {error}", "choose another with --port") from error
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
