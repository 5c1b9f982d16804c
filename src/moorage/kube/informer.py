"""Informers: a local copy of the API's objects, listed once and then watched.

Reconcilers read from here instead of the API. A watch that ends or breaks resumes at its resource version; when the
API no longer has that version, everything is listed again, and handlers get the objects that were deleted meanwhile.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Thread

from moorage.kube.port import Change, KubernetesClient, Object, Resource, key_of
from moorage.kube.store import Store
from moorage.model.errors import Expired, KubernetesUnreachable, MoorageError, NotFound

WATCH = 300  # seconds after which a watch is started again, as client-go does at 5 to 10 minutes
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between attempts when the API is unreachable
Handler = Callable[[Object], None]

log = logging.getLogger(__name__)


@dataclass
class Reflector:
    """Keeps one store up to date; calls `handler` with each object that was added, changed or deleted."""

    api: KubernetesClient
    resource: Resource
    store: Store
    handler: Handler
    jitter: Callable[[], float] = random.random
    version: str = ""
    failures: int = 0

    def step(self) -> float:
        """List if needed, then watch until the watch ends. Returns the seconds to wait before the next step."""
        try:
            if not self.version:
                self._relist()
            for change in self.api.watch(self.resource, self.version, WATCH):
                self._apply(change)
                self.failures = 0
        except (Expired, NotFound):  # NotFound: the API does not know the resource, or no longer
            self.version = ""
        except MoorageError as error:
            log.warning("watch of %s ended: %s", self.resource.plural, error)
            return self._pause()
        return 0.0 if self.version else self._pause()

    def _pause(self) -> float:
        self.failures += 1
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 10))
        return longest * (0.5 + 0.5 * self.jitter())

    def _relist(self) -> None:
        listed = self.api.list(self.resource)
        current = {key_of(obj): obj for obj in listed.items}
        for key in self.store.keys() - current.keys():
            self._delete(key)
        for key, obj in current.items():
            if _version(self.store.get(key)) != _version(obj):
                self._upsert(obj)
        self.version = listed.version

    def _apply(self, change: Change) -> None:
        if change.type == "DELETED":
            self._delete(key_of(change.object), change.object)
        elif change.type != "BOOKMARK":
            self._upsert(change.object)
        self.version = str(_version(change.object))

    def _upsert(self, obj: Object) -> None:
        self.store.put(obj)
        self.handler(obj)

    def _delete(self, key: str, last: Object | None = None) -> None:
        old = self.store.drop(key) or last
        if old is not None:
            self.handler(old)


class Informer:
    """A store for each resource, kept up to date by a reflector with its own thread.

    Call `store` and `add_handler` before `start`. A handler must be quick and must not raise.
    """

    def __init__(self, api: KubernetesClient) -> None:
        self.api = api
        self._reflectors: dict[Resource, Reflector] = {}
        self._handlers: dict[Resource, list[Handler]] = {}
        self._threads: list[Thread] = []

    def store(self, resource: Resource) -> Store:
        """The store of a resource; it is filled from `start` on."""
        if resource not in self._reflectors:
            handlers = self._handlers.setdefault(resource, [])
            self._reflectors[resource] = Reflector(self.api, resource, Store(), lambda obj: _notify(handlers, obj))
        return self._reflectors[resource].store

    def add_handler(self, resource: Resource, handler: Handler) -> None:
        """Call `handler` with every object of the resource that is added, changed or deleted."""
        self.store(resource)
        self._handlers[resource].append(handler)

    def get(self, resource: Resource, key: str) -> Object | None:
        """The object with that key, None when there is none."""
        return self.store(resource).get(key)

    def ready(self) -> bool:
        """Whether every store has been listed; one of an optional resource may stay empty."""
        return all(reflector.version for resource, reflector in self._reflectors.items() if not resource.optional)

    def start(self, stop: Event) -> None:
        """Run until `stop`. The threads are daemons, because a watch that blocks cannot be interrupted."""
        for reflector in self._reflectors.values():
            name = f"watch-{reflector.resource.plural}"
            thread = Thread(target=_run_reflector, args=(reflector, stop), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)  # after its start: until then it would count as dead

    def alive(self) -> bool:
        """Whether no thread has died."""
        return all(thread.is_alive() for thread in self._threads)


def wait_ready(cache: Informer, stop: Event, seconds: float) -> None:
    """Return when all is listed, or on `stop`; KubernetesUnreachable when it takes longer."""
    waited = 0.0
    while not cache.ready() and not stop.wait(0.05):
        waited += 0.05
        if waited > seconds:
            raise KubernetesUnreachable(f"the Kubernetes API gave no lists in {seconds:.0f} s")


def _run_reflector(reflector: Reflector, stop: Event) -> None:
    pause = 0.0
    while not stop.wait(pause):
        pause = reflector.step()


def _notify(handlers: Iterable[Handler], obj: Object) -> None:
    for handler in handlers:
        handler(obj)


def _version(obj: Object | None) -> str | None:
    return obj["metadata"].get("resourceVersion") if obj else None
