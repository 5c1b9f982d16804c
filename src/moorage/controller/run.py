"""Runs reconcilers: watches fill their queues, workers process them while this process holds the lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Protocol

from moorage.controller.metrics import Metrics
from moorage.controller.queue import WorkQueue
from moorage.kube.informer import Informer, wait_ready
from moorage.kube.lease import Elector
from moorage.kube.port import Object, Resource, key_of
from moorage.model.errors import MoorageError

LIST_TIMEOUT = 60.0  # seconds within which all informers must have listed
STOP_TIMEOUT = 5.0  # seconds for workers to finish at the end

log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """A reconciler for one concern. `watches` are the resources with keys to reconcile.

    Optional: `always`, keys to reconcile from the start; `keys_for(resource, object)`, the keys for an object, by
    default its own; `gather`, seconds within which changes of a key are merged; `workers`, the number of threads.
    """

    @property
    def name(self) -> str: ...
    @property
    def watches(self) -> tuple[Resource, ...]: ...

    def reconcile(self, key: str) -> float | None:
        """Reconcile one object. Returns the seconds until the next time, None to wait for a change.

        Errors are logged and counted, and the key is retried after a delay.
        """
        ...


@dataclass
class Runner:
    """All reconcilers, each with its own queue and workers, which start nothing while `allowed` is False."""

    cache: Informer
    metrics: Metrics
    workers: int = 2
    allowed: Callable[[], bool] = lambda: True
    queues: dict[str, WorkQueue] = field(default_factory=dict)
    _reconcilers: list[Reconciler] = field(default_factory=list)
    _threads: list[Thread] = field(default_factory=list)

    def add(self, reconciler: Reconciler) -> None:
        """Call it before `start`."""
        queue = self.queues[reconciler.name] = WorkQueue()
        self.metrics.depth.labels(reconciler.name).set_function(lambda: queue.depth)
        self._reconcilers.append(reconciler)
        for resource in reconciler.watches:
            self.cache.add_handler(resource, _handler_for(reconciler, resource, queue))
        for key in getattr(reconciler, "always", ()):
            queue.add(key)

    def wake(self, name: str, key: str) -> None:
        """Reconcile a key soon."""
        self.queues[name].add(key)

    def start(self) -> None:
        """Start the workers; the queues have been filling since the informers were started."""
        for reconciler in self._reconcilers:
            for number in range(getattr(reconciler, "workers", self.workers)):
                name = f"{reconciler.name}-{number}"
                thread = Thread(target=self._work, args=(reconciler,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)  # after its start: until then it would count as dead

    def stop(self) -> None:
        """Stop the queues, and wait a moment for running work."""
        for queue in self.queues.values():
            queue.stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def alive(self) -> bool:
        """Whether no worker has died."""
        return all(thread.is_alive() for thread in self._threads)

    def _work(self, reconciler: Reconciler) -> None:
        queue = self.queues[reconciler.name]
        while (key := queue.take()) is not None and self.allowed():
            self._reconcile(reconciler, queue, key)

    def _reconcile(self, reconciler: Reconciler, queue: WorkQueue, key: str) -> None:
        fields = {"controller": reconciler.name, "key": key}
        try:
            with self.metrics.seconds.labels(reconciler.name).time():
                again = reconciler.reconcile(key)
        except Exception as error:  # an error in one object must not stop the work on others
            self.metrics.errors.labels(reconciler.name, type(error).__name__).inc()
            expected = isinstance(error, MoorageError)
            pause = round(queue.failed(key), 2)
            log.warning("%s", error, extra={**fields, "again": pause}, exc_info=None if expected else error)
        else:
            queue.done(key, again)


def lead(runner: Runner, elector: Elector, stop: Event, every: float) -> bool:
    """Wait for the lease, work while we hold it, release it on `stop`.

    False when the lease was lost or one of our threads died: then the program exits, to be restarted.
    """
    runner.cache.start(stop)
    wait_ready(runner.cache, stop, LIST_TIMEOUT)
    if not _wait_until(lambda: elector.step(), stop, every):
        return True
    log.info("holding the lease %s as %s", elector.key, elector.me)
    runner.metrics.leading.set(1)
    runner.allowed = lambda: elector.is_leader  # also while a renewal waits for its response
    runner.start()
    failed = _wait_until(lambda: not (elector.step() and runner.cache.alive() and runner.alive()), stop, every)
    runner.metrics.leading.set(0)
    runner.stop()
    if failed:
        log.error("a thread died" if elector.is_leader else f"the lease {elector.key} was lost")
    if elector.is_leader:
        _release(elector)
    return not failed


def _release(elector: Elector) -> None:
    try:
        elector.release()
    except MoorageError as error:
        log.warning("the lease could not be released, it will expire: %s", error)


def _wait_until(condition: Callable[[], bool], stop: Event, every: float) -> bool:
    """Whether it became true before `stop`."""
    while not stop.is_set():
        if condition():
            return True
        stop.wait(every)
    return False


def _handler_for(reconciler: Reconciler, resource: Resource, queue: WorkQueue) -> Callable[[Object], None]:
    keys_for: Callable[[Resource, Object], Iterable[str]] | None = getattr(reconciler, "keys_for", None)
    after: float = getattr(reconciler, "gather", 0.0)

    def handler(obj: Object) -> None:
        for key in keys_for(resource, obj) if keys_for else (key_of(obj),):
            queue.add(key, after)

    return handler
