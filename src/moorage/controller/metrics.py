"""Metrics for Prometheus: reconciles, queues, calls to the cloud."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from moorage.model.errors import MoorageError

T = TypeVar("T")
BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)  # seconds


class Metrics:
    """The controller's metrics, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        words: dict[str, Any] = {"namespace": "moorage", "registry": self.registry}
        self.seconds = Histogram(
            "reconcile_seconds", "Duration of one reconcile", ["controller"], buckets=BUCKETS, **words
        )
        self.errors = Counter("reconcile_errors", "Failed reconciles", ["controller", "error"], **words)
        self.calls = Counter("cloud_calls", "Calls to the cloud", ["operation", "result"], **words)
        self.call_seconds = Histogram(
            "cloud_call_seconds", "Duration of one call to the cloud", ["operation"], buckets=BUCKETS, **words
        )
        self.depth = Gauge("queue_depth", "Objects that wait for a worker", ["controller"], **words)
        self.leading = Gauge("leading", "Whether this controller holds the lease", **words)

    def called(self, operation: str, result: str, seconds: float) -> None:
        """Count one call to the cloud; `result` is "ok" or the error's class."""
        self.calls.labels(operation, result).inc()
        self.call_seconds.labels(operation).observe(seconds)


def counted(port: T, name: str, called: Callable[[str, str, float], None]) -> T:
    """A wrapper of the port that counts each call as `name.method`, with its result and its duration in seconds."""
    return cast(T, _Counted(port, name, called))


class _Counted:
    def __init__(self, port: Any, name: str, called: Callable[[str, str, float], None]) -> None:
        self._port, self._name, self._called = port, name, called

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        return self._around(f"{self._name}.{method}", found) if callable(found) else found

    def _around(self, operation: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **words: Any) -> Any:
            begun, result = time.monotonic(), "ok"
            try:
                return call(*args, **words)
            except MoorageError as error:
                result = type(error).__name__
                raise
            finally:
                self._called(operation, result, time.monotonic() - begun)

        return timed
