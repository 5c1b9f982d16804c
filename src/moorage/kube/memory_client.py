"""A Kubernetes API in memory, with the real one's versions, watches, conflicts and finalizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from threading import Condition
from time import monotonic
from typing import Any
from uuid import uuid4

from moorage.kube.merge import patched
from moorage.kube.objects import PODS, Change, Object, Resource, ResourceList, key_of
from moorage.model.errors import CloudUnreachable, Conflict, NotFound


class MemoryKubernetesClient:
    """The port `KubernetesClient`; may be used by many threads.

    Faults: `unreachable` is why the API does not answer; `cut_watches` breaks running watches; `forget` drops the
    history, so that an older watch cannot resume. `asked` are the calls so far, as in "patch nodes". An optional
    resource is known once it is in `defined`.
    """

    def __init__(self) -> None:
        self.unreachable = ""
        self.asked: list[str] = []
        self.defined: set[Resource] = set()
        self._held: dict[tuple[str, str], Object] = {}
        self._history: list[tuple[int, str, Change]] = []
        self._version = self._oldest = self._cuts = 0
        self._changed = Condition()

    def list(self, resource: Resource, field: str = "") -> ResourceList:
        with self._asked("list", resource):
            found = [o for (plural, _), o in self._held.items() if plural == resource.plural and _has(o, field)]
            return ResourceList(tuple(deepcopy(found)), str(self._version))

    def watch(self, resource: Resource, version: str, seconds: float) -> Iterator[Change]:
        with self._asked("watch", resource):
            cuts, ends, seen = self._cuts, monotonic() + seconds, int(version)
        while True:
            with self._changed:
                self._wait_for_news(cuts, seen, ends - monotonic())
                if self._cuts != cuts or self.unreachable:
                    raise CloudUnreachable(self.unreachable or "the watch was interrupted")
                if seen < self._oldest:
                    raise NotFound(f"the API has no version older than {self._oldest}")
                news = [c for at, plural, c in self._since(seen) if plural == resource.plural]
                seen = self._version
            yield from deepcopy(news)
            if monotonic() >= ends:
                return

    def get(self, resource: Resource, key: str) -> Object | None:
        with self._asked("get", resource):
            return deepcopy(self._held.get((resource.plural, key)))

    def create(self, resource: Resource, wanted: Object) -> Object:
        with self._asked("create", resource):
            key = key_of(wanted)
            if (resource.plural, key) in self._held:
                raise Conflict(f"{resource.plural} {key} already exists")
            made = {"apiVersion": resource.version, "kind": resource.kind, **deepcopy(wanted)}
            made["metadata"].setdefault("uid", str(uuid4()))
            return self._keep("ADDED", resource, key, made)

    def replace(self, resource: Resource, wanted: Object) -> Object:
        with self._asked("replace", resource):
            key = key_of(wanted)
            old = self._found(resource, key)
            _check_version(old, wanted, key)
            metadata = {**wanted["metadata"], "uid": old["metadata"]["uid"]}
            return self._update(resource, key, old, {**deepcopy(wanted), "metadata": metadata})

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        with self._asked("patch", resource):
            old = self._found(resource, key)
            _check_version(old, change, key)
            return self._update(resource, key, old, deepcopy(patched(old, change, status)))

    def delete(self, resource: Resource, key: str, uid: str = "", *, at_once: bool = False) -> None:
        with self._asked("delete", resource):
            old = self._held.get((resource.plural, key))
            if old is None:
                return
            if uid and uid != old["metadata"]["uid"]:
                raise Conflict(f"{resource.plural} {key} is another object now")
            # There is no kubelet here to report that a pod of a node has ended.
            if old["metadata"].get("finalizers") or (_on_a_node(resource, old) and not at_once):
                metadata = {**old["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
                self._update(resource, key, old, {**old, "metadata": metadata})
            else:
                self._keep("DELETED", resource, key, dict(old))

    def cut_watches(self) -> None:
        """Interrupt all running watches."""
        with self._changed:
            self._cuts += 1
            self._changed.notify_all()

    def forget(self) -> None:
        """Drop the history, as a compaction of etcd does."""
        with self._changed:
            self._version += 1
            self._oldest, self._history = self._version, []

    def _wait_for_news(self, cuts: int, seen: int, seconds: float) -> None:
        self._changed.wait_for(lambda: self._cuts != cuts or self._version > seen, seconds)

    def _asked(self, call: str, resource: Resource) -> Condition:
        self.asked.append(f"{call} {resource.plural}")
        if self.unreachable:
            raise CloudUnreachable(self.unreachable)
        if resource.optional and resource not in self.defined:
            raise NotFound("the server could not find the requested resource")
        return self._changed

    def _found(self, resource: Resource, key: str) -> Object:
        found = self._held.get((resource.plural, key))
        if found is None:
            raise NotFound(f"{resource.plural} {key} does not exist")
        return found

    def _update(self, resource: Resource, key: str, old: Object, new: Object) -> Object:
        """As in the API: a change without effect creates no version; the last finalizer to be removed deletes the
        object.
        """
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return deepcopy(new)
        metadata = new["metadata"]
        over = metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not _on_a_node(resource, new)
        return self._keep("DELETED" if over else "MODIFIED", resource, key, new)

    def _keep(self, type: Any, resource: Resource, key: str, new: Object) -> Object:
        self._version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self._version)}}
        if type == "DELETED":
            del self._held[resource.plural, key]
        else:
            self._held[resource.plural, key] = new
        self._history.append((self._version, resource.plural, Change(type, new)))
        self._changed.notify_all()
        return deepcopy(new)

    def _since(self, seen: int) -> Iterator[tuple[int, str, Change]]:
        first = len(self._history)
        while first and self._history[first - 1][0] > seen:
            first -= 1
        return iter(self._history[first:])


def _check_version(old: Object, new: Mapping[str, Any], key: str) -> None:
    known = new.get("metadata", {}).get("resourceVersion")
    if known and known != old["metadata"]["resourceVersion"]:
        raise Conflict(f"{key} has changed: version {known} is not the newest")


def _has(found: Object, field: str) -> bool:
    """Whether a field selector such as "spec.nodeName=a" selects the object; an empty one selects all."""
    path, _, wanted = field.partition("=")
    value: Any = found
    for part in path.split(".") if path else ():
        value = value.get(part, {})
    return not field or value == wanted


def _on_a_node(resource: Resource, found: Object) -> bool:
    return resource == PODS and bool(found.get("spec", {}).get("nodeName"))
