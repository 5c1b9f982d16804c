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
        options: dict[str, Any] = {"namespace": "moorage", "registry": self.registry}
        self.seconds = Histogram(
            "reconcile_seconds", "Duration of one reconcile", ["controller"], buckets=BUCKETS, **options
        )
        self.errors = Counter("reconcile_errors", "Failed reconciles", ["controller", "error"], **options)
        self.calls = Counter("cloud_calls", "Calls to the cloud", ["operation", "result"], **options)
        self.call_seconds = Histogram(
            "cloud_call_seconds", "Duration of one call to the cloud", ["operation"], buckets=BUCKETS, **options
        )
        self.depth = Gauge("queue_depth", "Objects that wait for a worker", ["controller"], **options)
        self.leading = Gauge("leading", "Whether this controller holds the lease", **options)

    def record_call(self, operation: str, result: str, seconds: float) -> None:
        """Count one call to the cloud; `result` is "ok" or the error's class."""
        self.calls.labels(operation, result).inc()
        self.call_seconds.labels(operation).observe(seconds)


def count_calls(port: T, name: str, record_call: Callable[[str, str, float], None]) -> T:
    """A wrapper of the port that counts each call as `name.method`, with its result and its duration in seconds."""
    return cast(T, _CountingPort(port, name, record_call))


class _CountingPort:
    def __init__(self, port: Any, name: str, record_call: Callable[[str, str, float], None]) -> None:
        self._port, self._name, self._record_call = port, name, record_call

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._port, method)
        return self._wrap(f"{self._name}.{method}", attribute) if callable(attribute) else attribute

    def _wrap(self, operation: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            started, result = time.monotonic(), "ok"
            try:
                return call(*args, **options)
            except MoorageError as error:
                result = type(error).__name__
                raise
            finally:
                self._record_call(operation, result, time.monotonic() - started)

        return timed
