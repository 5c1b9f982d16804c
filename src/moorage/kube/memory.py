"""A Kubernetes API in memory, with the real one's versions, watches, conflicts and finalizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from threading import Condition
from time import monotonic
from typing import Any
from uuid import uuid4

from moorage.kube.merge import apply_patch
from moorage.kube.port import PODS, Change, Object, Resource, ResourceList, key_of
from moorage.model.errors import Conflict, Expired, KubernetesUnreachable, NotFound


class MemoryKubernetesClient:
    """The port `KubernetesClient`; may be used by many threads.

    Faults: `unreachable` is why the API does not answer; `cut_watches` breaks running watches; `forget` drops the
    history, so that an older watch cannot resume. `calls` are the calls so far, as in "patch nodes". An optional
    resource is known once it is in `defined`. By the keys of pods, `budgets` are the reasons for which they cannot be
    evicted, and `logs` their last lines.
    """

    def __init__(self) -> None:
        self.unreachable = ""
        self.calls: list[str] = []
        self.defined: set[Resource] = set()
        self.budgets: dict[str, str] = {}
        self.logs: dict[str, str] = {}
        self._objects: dict[tuple[str, str], Object] = {}
        self._history: list[tuple[int, str, Change]] = []
        self._version = self._oldest = self._cuts = 0
        self._changed = Condition()

    def list(self, resource: Resource, field: str = "") -> ResourceList:
        with self._begin_call("list", resource):
            objects = [
                o for (plural, _), o in self._objects.items() if plural == resource.plural and _matches(o, field)
            ]
            return ResourceList(tuple(deepcopy(objects)), str(self._version))

    def watch(self, resource: Resource, version: str, seconds: float) -> Iterator[Change]:
        with self._begin_call("watch", resource):
            cuts, ends, version_seen = self._cuts, monotonic() + seconds, int(version)
        while True:
            with self._changed:
                self._wait_for_change(cuts, version_seen, ends - monotonic())
                if self._cuts != cuts or self.unreachable:
                    raise KubernetesUnreachable(self.unreachable or "the watch was interrupted")
                if version_seen < self._oldest:
                    raise Expired(f"the API has no version older than {self._oldest}")
                changes = [c for at, plural, c in self._since(version_seen) if plural == resource.plural]
                version_seen = self._version
            yield from deepcopy(changes)
            if monotonic() >= ends:
                return

    def get(self, resource: Resource, key: str) -> Object | None:
        with self._begin_call("get", resource):
            return deepcopy(self._objects.get((resource.plural, key)))

    def create(self, resource: Resource, desired: Object) -> Object:
        with self._begin_call("create", resource):
            key = key_of(desired)
            if (resource.plural, key) in self._objects:
                raise Conflict(f"{resource.plural} {key} already exists")
            created = {"apiVersion": resource.version, "kind": resource.kind, **deepcopy(desired)}
            created["metadata"].setdefault("uid", str(uuid4()))
            return self._record("ADDED", resource, key, created)

    def replace(self, resource: Resource, desired: Object, subresource: str = "") -> Object:
        with self._begin_call("replace", resource):
            key = key_of(desired)
            old = self._get_existing(resource, key)
            _check_version(old, desired, key)
            if subresource == "approval":
                desired = {**old, "status": {**old.get("status", {}), "conditions": desired["status"]["conditions"]}}
            metadata = {**desired["metadata"], "uid": old["metadata"]["uid"]}
            return self._update(resource, key, old, {**deepcopy(desired), "metadata": metadata})

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        with self._begin_call("patch", resource):
            old = self._get_existing(resource, key)
            _check_version(old, change, key)
            return self._update(resource, key, old, deepcopy(apply_patch(old, change, status)))

    def delete(self, resource: Resource, key: str, uid: str = "", *, at_once: bool = False) -> None:
        with self._begin_call("delete", resource):
            old = self._objects.get((resource.plural, key))
            if old is None:
                return
            if uid and uid != old["metadata"]["uid"]:
                raise Conflict(f"{resource.plural} {key} is another object now")
            # There is no kubelet here to report that a pod of a node has ended.
            if old["metadata"].get("finalizers") or (_is_on_node(resource, old) and not at_once):
                metadata = {**old["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
                self._update(resource, key, old, {**old, "metadata": metadata})
            else:
                self._record("DELETED", resource, key, dict(old))

    def last_log_line(self, pod: str) -> str:
        return self.logs.get(pod, "")

    def evict(self, pod: str) -> None:
        if reason := self.budgets.get(pod):
            raise Conflict(reason)
        self.delete(PODS, pod)

    def close(self) -> None:
        """Nothing to close."""

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

    def _wait_for_change(self, cuts: int, version_seen: int, seconds: float) -> None:
        self._changed.wait_for(lambda: self._cuts != cuts or self._version > version_seen, seconds)

    def _begin_call(self, call: str, resource: Resource) -> Condition:
        self.calls.append(f"{call} {resource.plural}")
        if self.unreachable:
            raise KubernetesUnreachable(self.unreachable)
        if resource.optional and resource not in self.defined:
            raise NotFound("the server could not find the requested resource")
        return self._changed

    def _get_existing(self, resource: Resource, key: str) -> Object:
        obj = self._objects.get((resource.plural, key))
        if obj is None:
            raise NotFound(f"{resource.plural} {key} does not exist")
        return obj

    def _update(self, resource: Resource, key: str, old: Object, new: Object) -> Object:
        """As in the API: a change without effect creates no version; the last finalizer to be removed deletes the
        object.
        """
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return deepcopy(new)
        metadata = new["metadata"]
        is_deleted = (
            metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not _is_on_node(resource, new)
        )
        return self._record("DELETED" if is_deleted else "MODIFIED", resource, key, new)

    def _record(self, type: Any, resource: Resource, key: str, new: Object) -> Object:
        self._version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self._version)}}
        if type == "DELETED":
            del self._objects[resource.plural, key]
        else:
            self._objects[resource.plural, key] = new
        self._history.append((self._version, resource.plural, Change(type, new)))
        self._changed.notify_all()
        return deepcopy(new)

    def _since(self, version_seen: int) -> Iterator[tuple[int, str, Change]]:
        index = len(self._history)
        while index and self._history[index - 1][0] > version_seen:
            index -= 1
        return iter(self._history[index:])


def _check_version(old: Object, new: Mapping[str, Any], key: str) -> None:
    version = new.get("metadata", {}).get("resourceVersion")
    if version and version != old["metadata"]["resourceVersion"]:
        raise Conflict(f"{key} has changed: version {version} is not the newest")


def _matches(obj: Object, field: str) -> bool:
    """Whether a field selector such as "spec.nodeName=a" selects the object; an empty one selects all."""
    path, _, expected = field.partition("=")
    value: Any = obj
    for part in path.split(".") if path else ():
        value = value.get(part, {})
    return not field or value == expected


def _is_on_node(resource: Resource, obj: Object) -> bool:
    return resource == PODS and bool(obj.get("spec", {}).get("nodeName"))
