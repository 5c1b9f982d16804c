"""What the API holds, kept here and kept true: list once, then watch.

Reconcilers read from here instead of asking. A watch that ends or breaks goes on where it was; when the API no longer
holds that version, everything is listed again, and what went meanwhile is told as gone.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Thread

from moorage.kube.objects import Change, Object, Objects, Resource, key_of
from moorage.kube.store import Store
from moorage.model.errors import CloudUnreachable, MoorageError, NotFound

WATCH = 300  # seconds after which a watch is started again, as client-go does at 5 to 10 minutes
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between attempts when the API is away
Heard = Callable[[Object], None]

log = logging.getLogger(__name__)


@dataclass
class Follower:
    """Keeps one store true; `heard` is called with each object that came, changed or went."""

    api: Objects
    resource: Resource
    store: Store
    heard: Heard
    jitter: Callable[[], float] = random.random
    version: str = ""
    failures: int = 0

    def step(self) -> float:
        """List if we must, then watch until the watch ends; returns the seconds to pause before the next step."""
        try:
            if not self.version:
                self._relist()
            for change in self.api.watch(self.resource, self.version, WATCH):
                self._take(change)
                self.failures = 0
        except NotFound:
            self.version = ""
        except MoorageError as error:
            log.warning("watch of %s broke off: %s", self.resource.plural, error)
            return self._pause()
        return 0.0 if self.version else self._pause()

    def _pause(self) -> float:
        self.failures += 1
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures - 1, 10))
        return longest * (0.5 + 0.5 * self.jitter())

    def _relist(self) -> None:
        listed = self.api.list(self.resource)
        here = {key_of(found): found for found in listed.items}
        for key in self.store.keys() - here.keys():
            self._gone(key)
        for key, found in here.items():
            if _version(self.store.get(key)) != _version(found):
                self._came(found)
        self.version = listed.version

    def _take(self, change: Change) -> None:
        if change.type == "DELETED":
            self._gone(key_of(change.object), change.object)
        elif change.type != "BOOKMARK":
            self._came(change.object)
        self.version = str(_version(change.object))

    def _came(self, found: Object) -> None:
        self.store.put(found)
        self.heard(found)

    def _gone(self, key: str, last: Object | None = None) -> None:
        old = self.store.drop(key) or last
        if old is not None:
            self.heard(old)


class Cache:
    """Stores of the resources that were asked for, each followed by a thread of its own.

    `store` and `tell` come before `start`; a listener must be quick and must not raise.
    """

    def __init__(self, api: Objects) -> None:
        self.api = api
        self._followers: dict[Resource, Follower] = {}
        self._listeners: dict[Resource, list[Heard]] = {}
        self._threads: list[Thread] = []

    def store(self, resource: Resource) -> Store:
        """The store of a resource, followed from `start` on."""
        if resource not in self._followers:
            listeners = self._listeners.setdefault(resource, [])
            self._followers[resource] = Follower(self.api, resource, Store(), lambda found: _tell(listeners, found))
        return self._followers[resource].store

    def tell(self, resource: Resource, listener: Heard) -> None:
        """Call `listener` with every object of the resource that came, changed or went."""
        self.store(resource)
        self._listeners[resource].append(listener)

    def get(self, resource: Resource, key: str) -> Object | None:
        """What the store holds under that key, None when there is no such object."""
        return self.store(resource).get(key)

    def ready(self) -> bool:
        """Whether every store has been listed; one of an optional resource may stay empty for ever."""
        return all(follower.version for resource, follower in self._followers.items() if not resource.optional)

    def start(self, stop: Event) -> None:
        """Follow until `stop`. The threads end with the process: one that waits for news cannot be woken."""
        for follower in self._followers.values():
            name = f"watch-{follower.resource.plural}"
            self._threads.append(Thread(target=_follow, args=(follower, stop), name=name, daemon=True))
            self._threads[-1].start()

    def alive(self) -> bool:
        """Whether no thread has died."""
        return all(thread.is_alive() for thread in self._threads)


def wait_ready(cache: Cache, stop: Event, seconds: float) -> None:
    """Return when all is listed, or on `stop`; CloudUnreachable when it takes longer."""
    waited = 0.0
    while not cache.ready() and not stop.wait(0.05):
        waited += 0.05
        if waited > seconds:
            raise CloudUnreachable(f"the Kubernetes API gave no lists in {seconds:.0f} s")


def _follow(follower: Follower, stop: Event) -> None:
    pause = 0.0
    while not stop.wait(pause):
        pause = follower.step()


def _tell(listeners: Iterable[Heard], found: Object) -> None:
    for listener in listeners:
        listener(found)


def _version(found: Object | None) -> str | None:
    return found["metadata"].get("resourceVersion") if found else None
