"""The objects of one resource as last received, by key or by an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock

from moorage.kube.port import Object, key_of

Index = Callable[[Object], Iterable[str]]


class Store:
    """The objects of one resource; thread-safe. Objects in it are shared: never modify one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._objects: dict[str, Object] = {}
        self._indexes: dict[str, Index] = {}
        self._keys_by_value: dict[tuple[str, str], set[str]] = {}

    def get(self, key: str) -> Object | None:
        with self._lock:
            return self._objects.get(key)

    def all(self) -> list[Object]:
        with self._lock:
            return list(self._objects.values())

    def add_index(self, name: str, index: Index) -> None:
        """Make `by(name, value)` return the objects for which `index` returns that value."""
        with self._lock:
            self._indexes[name] = index
            for key, obj in self._objects.items():
                self._index(key, obj, {name: index})

    def by(self, name: str, value: str) -> list[Object]:
        with self._lock:
            return [self._objects[key] for key in sorted(self._keys_by_value.get((name, value), ()))]

    def put(self, obj: Object) -> None:
        key, slim = key_of(obj), _slim(obj)
        with self._lock:
            self._unindex(key)
            self._objects[key] = slim
            self._index(key, slim, self._indexes)

    def drop(self, key: str) -> Object | None:
        with self._lock:
            self._unindex(key)
            return self._objects.pop(key, None)

    def keys(self) -> set[str]:
        with self._lock:
            return set(self._objects)

    def _index(self, key: str, obj: Object, indexes: dict[str, Index]) -> None:
        for name, index in indexes.items():
            for value in index(obj):
                self._keys_by_value.setdefault((name, value), set()).add(key)

    def _unindex(self, key: str) -> None:
        old = self._objects.get(key)
        for name, index in self._indexes.items():
            for value in index(old) if old else ():
                keys = self._keys_by_value[name, value]
                keys.discard(key)
                if not keys:
                    del self._keys_by_value[name, value]


def _slim(obj: Object) -> Object:
    """Without fields that nothing reads and that take most of the memory: managedFields, a node's list of images."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    slim = {**obj, "metadata": metadata}
    if "images" in (obj.get("status") or {}):
        slim["status"] = {name: value for name, value in obj["status"].items() if name != "images"}
    return slim
