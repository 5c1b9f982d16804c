"""Runs reconcilers: watches fill their queues, workers empty them while we hold the lease."""

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
from moorage.kube.objects import Object, Resource, key_of
from moorage.model.errors import MoorageError

LISTED = 60.0  # seconds in which the API must have given all lists
LAST_WORK = 5.0  # seconds that workers get to end what they are at

log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """One concern. `watches` are the resources whose objects' keys are to be reconciled.

    It may have `always`, keys to be reconciled from the start; `keys_for(resource, object)`, which keys an object
    concerns (its own, else); `gather`, seconds in which news of a key become one; and `workers`, how many at once.
    """

    @property
    def name(self) -> str: ...
    @property
    def watches(self) -> tuple[Resource, ...]: ...

    def reconcile(self, key: str) -> float | None:
        """Bring one object to where it should be; seconds after which to look again, None: when it changes.

        Whatever it raises is logged and counted, and the key comes again after a pause.
        """
        ...


@dataclass
class Runner:
    """All reconcilers, each with a queue and some workers of its own; nothing is begun when it is not `allowed`."""

    cache: Informer
    metrics: Metrics
    workers: int = 2
    allowed: Callable[[], bool] = lambda: True
    queues: dict[str, WorkQueue] = field(default_factory=dict)
    _reconcilers: list[Reconciler] = field(default_factory=list)
    _threads: list[Thread] = field(default_factory=list)

    def add(self, reconciler: Reconciler) -> None:
        """Before `start`."""
        queue = self.queues[reconciler.name] = WorkQueue()
        self.metrics.depth.labels(reconciler.name).set_function(lambda: queue.depth)
        self._reconcilers.append(reconciler)
        for resource in reconciler.watches:
            self.cache.add_handler(resource, _listener(reconciler, resource, queue))
        for key in getattr(reconciler, "always", ()):
            queue.add(key)

    def wake(self, name: str, key: str) -> None:
        """Have a reconciler look at a key soon."""
        self.queues[name].add(key)

    def start(self) -> None:
        """Begin to work; the queues have been filling since the cache was started."""
        for reconciler in self._reconcilers:
            for number in range(getattr(reconciler, "workers", self.workers)):
                name = f"{reconciler.name}-{number}"
                self._threads.append(Thread(target=self._work, args=(reconciler,), name=name, daemon=True))
                self._threads[-1].start()

    def stop(self) -> None:
        """Hand out no more work, and wait a moment for what is being done."""
        for queue in self.queues.values():
            queue.stop()
        ends = time.monotonic() + LAST_WORK
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def alive(self) -> bool:
        """Whether no worker has died."""
        return all(thread.is_alive() for thread in self._threads)

    def _work(self, reconciler: Reconciler) -> None:
        queue = self.queues[reconciler.name]
        while (key := queue.take()) is not None and self.allowed():
            self._reconcile(reconciler, queue, key)

    def _reconcile(self, reconciler: Reconciler, queue: WorkQueue, key: str) -> None:
        words = {"controller": reconciler.name, "key": key}
        try:
            with self.metrics.seconds.labels(reconciler.name).time():
                again = reconciler.reconcile(key)
        except Exception as error:  # a fault in one object must not stop the work on others
            self.metrics.errors.labels(reconciler.name, type(error).__name__).inc()
            known = isinstance(error, MoorageError)
            pause = round(queue.failed(key), 2)
            log.warning("%s", error, extra={**words, "again": pause}, exc_info=None if known else error)
        else:
            queue.done(key, again)


def lead(runner: Runner, elector: Elector, stop: Event, every: float) -> bool:
    """Wait for the lease, work while we hold it, hand it over on `stop`.

    False when the lease was lost in the middle, or a thread of ours died: then the program ends, to be restarted.
    """
    runner.cache.start(stop)
    wait_ready(runner.cache, stop, LISTED)
    if not _until(lambda: elector.step(), stop, every):
        return True
    log.info("holding the lease %s as %s", elector.key, elector.me)
    runner.metrics.leading.set(1)
    runner.allowed = lambda: elector.held  # also while a renewal waits for its answer
    runner.start()
    failed = _until(lambda: not (elector.step() and runner.cache.alive() and runner.alive()), stop, every)
    runner.metrics.leading.set(0)
    runner.stop()
    if failed:
        log.error("a thread died" if elector.held else f"the lease {elector.key} was lost")
    if elector.held:
        _release(elector)
    return not failed


def _release(elector: Elector) -> None:
    try:
        elector.release()
    except MoorageError as error:
        log.warning("the lease could not be handed over, it will run out: %s", error)


def _until(what: Callable[[], bool], stop: Event, every: float) -> bool:
    """Whether it came true before `stop`."""
    while not stop.is_set():
        if what():
            return True
        stop.wait(every)
    return False


def _listener(reconciler: Reconciler, resource: Resource, queue: WorkQueue) -> Callable[[Object], None]:
    keys_for: Callable[[Resource, Object], Iterable[str]] | None = getattr(reconciler, "keys_for", None)
    after: float = getattr(reconciler, "gather", 0.0)

    def handler(found: Object) -> None:
        for key in keys_for(resource, found) if keys_for else (key_of(found),):
            queue.add(key, after)

    return handler
