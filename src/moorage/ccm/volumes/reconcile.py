"""The reconcilers of volumes: one creates storage classes, the others record reclaim policies in Cinder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from moorage.ccm.volumes.classes import NewClass, plan_classes
from moorage.ccm.volumes.marks import Policy, lacking, of_snapshot, of_volume
from moorage.cloud.volumes import CinderSnapshot, CinderVolume, Volumes
from moorage.kube.events import Recorder
from moorage.kube.objects import (
    PERSISTENT_VOLUMES,
    SNAPSHOT_CONTENTS,
    STORAGE_CLASSES,
    KubernetesClient,
    Object,
    Resource,
)
from moorage.model.errors import BadInput, Conflict, NotFound, QuotaExceeded

PERIOD = 60.0  # seconds between two reads of Cinder's types: three calls
SOON, LATER = 10.0, 300.0  # seconds until a rejected write is tried again
FRESH = 60.0  # seconds for which the first list of all volumes is used

Metadata = Mapping[str, str]


class Stored(Protocol):
    """An informer's store of one resource."""

    def get(self, key: str) -> Object | None: ...


@dataclass
class ClassReconciler:
    """Reads Cinder's types once a minute, and creates missing classes."""

    api: KubernetesClient
    volumes: Volumes
    events: Recorder
    name: str = "storage-classes"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)
    _reported: set[str] = field(default_factory=set)

    def reconcile(self, key: str) -> float | None:
        """CloudUnreachable when Cinder or the Kubernetes API does not answer."""
        types = self.volumes.types()
        plan = plan_classes(types, self.volumes.default_type(), self.api.list(STORAGE_CLASSES).items)
        for new in plan.make:
            self._make(new)
        self._report_orphans(plan.orphans, types)
        return PERIOD

    def _make(self, new: NewClass) -> None:
        try:
            made = self.api.create(STORAGE_CLASSES, new.wanted)
        except Conflict:
            return  # another client was faster: the next run sees its class
        if new.conflicting_name:
            type = new.wanted["parameters"]["type"]
            message = f"for the volume type {type!r}: another class has the name {new.conflicting_name}"
            self.events.event(made, "StorageClassRenamed", message, "Normal")

    def _report_orphans(self, orphans: Sequence[Object], types: Mapping[str, str]) -> None:
        """One Event as long as the type is missing."""
        for found in orphans:
            if found["metadata"]["uid"] not in self._reported:
                type, there = found["parameters"]["type"], ", ".join(sorted(types.values()))
                message = f"Cinder no longer has a volume type {type!r} for this project; available: {there}"
                hint = "no volume of this class can be created: delete it once no claim names it"
                self.events.event(found, "VolumeTypeDeleted", f"{message}: {hint}")
        self._reported = {found["metadata"]["uid"] for found in orphans}


class Known:
    """Cinder's metadata by id: one list at the start, then one request for each new volume."""

    def __init__(
        self,
        everything: Callable[[], Sequence[CinderVolume] | Sequence[CinderSnapshot]],
        one: Callable[[str], CinderVolume | CinderSnapshot | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._everything, self._one, self._clock = everything, one, clock
        self._first: dict[str, Metadata] = {}
        self._ends: float | None = None
        self._lock = Lock()

    def metadata(self, id: str) -> Metadata | None:
        """None when it does not exist; CloudUnreachable."""
        with self._lock:
            if self._ends is None:
                self._first = {found.id: found.metadata for found in self._everything()}
                self._ends = self._clock() + FRESH
            if self._clock() > self._ends:
                self._first.clear()
            if id in self._first:
                return self._first.pop(id)
        found = self._one(id)
        return None if found is None else found.metadata


@dataclass
class PolicyReconciler:
    """Records the reclaim policies of one kind of object in Cinder; the key is the object's name.

    It keeps what it wrote, and calls Cinder only when something changes.
    """

    name: str
    watches: tuple[Resource, ...]
    objects: Stored
    read: Callable[[Object], Policy | None]
    known: Known
    write: Callable[[str, Metadata], None]
    cluster: str
    events: Recorder
    _done: dict[str, Policy] = field(default_factory=dict)

    def reconcile(self, key: str) -> float | None:
        """CloudUnreachable when Cinder does not answer."""
        found = self.objects.get(key)
        policy = self.read(found) if found else None
        if found is None or policy is None:
            self._done.pop(key, None)
            return None
        if self._done.get(key) != policy:
            try:
                self._bring(policy)
            except (Conflict, BadInput, QuotaExceeded) as error:
                self.events.event(
                    found, "ReclaimPolicyNotRecorded", f"its policy cannot be written on {policy.id}: {error.message}"
                )
                return SOON if isinstance(error, Conflict) else LATER
            self._done[key] = policy
        return None

    def _bring(self, policy: Policy) -> None:
        metadata = self.known.metadata(policy.id)
        marks = {} if metadata is None else lacking(policy, metadata, self.cluster)
        if marks:
            try:
                self.write(policy.id, marks)
            except NotFound:
                return  # deleted meanwhile


def volume_policies(objects: Stored, volumes: Volumes, cluster: str, events: Recorder) -> PolicyReconciler:
    known = Known(volumes.list, volumes.get)
    watches = (PERSISTENT_VOLUMES,)
    return PolicyReconciler(
        "volume-policies", watches, objects, of_volume, known, volumes.set_metadata, cluster, events
    )


def snapshot_policies(objects: Stored, volumes: Volumes, cluster: str, events: Recorder) -> PolicyReconciler:
    known = Known(volumes.snapshots, volumes.get_snapshot)
    watches = (SNAPSHOT_CONTENTS,)
    return PolicyReconciler(
        "snapshot-policies", watches, objects, of_snapshot, known, volumes.set_snapshot_metadata, cluster, events
    )
