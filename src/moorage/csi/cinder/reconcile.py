"""The reconcilers of volumes: one creates storage classes, two record policies on volumes and snapshots in Cinder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume, Volumes
from moorage.csi.cinder.classes import NewClass, plan_classes
from moorage.csi.cinder.metadata import ReclaimPolicy, missing_metadata, read_snapshot_policy, read_volume_policy
from moorage.kube.events import Recorder
from moorage.kube.port import (
    PERSISTENT_VOLUMES,
    SNAPSHOT_CONTENTS,
    STORAGE_CLASSES,
    KubernetesClient,
    Object,
    Resource,
)
from moorage.kube.store import Store
from moorage.model.errors import BadInput, Conflict, NotFound, QuotaExceeded

PERIOD = 60.0  # seconds between two polls of Cinder's types, each of three calls
SOON, LATER = 10.0, 300.0  # seconds until the next attempt to write metadata that Cinder refused
FRESH = 60.0  # seconds for which the first list of all volumes or snapshots is used

Metadata = Mapping[str, str]


@dataclass
class ClassReconciler:
    """Polls Cinder's types once a minute and creates the missing classes."""

    api: KubernetesClient
    volumes: Volumes
    events: Recorder
    name: str = "storage-classes"
    watches: tuple[Resource, ...] = ()
    always: tuple[str, ...] = ("all",)
    _reported: set[str] = field(default_factory=set)

    def reconcile(self, key: str) -> float | None:
        """Raises CloudUnreachable when Cinder does not answer, and KubernetesUnreachable."""
        types = self.volumes.types()
        plan = plan_classes(types, self.volumes.default_type(), self.api.list(STORAGE_CLASSES).items)
        for new in plan.create:
            self._create(new)
        self._report_orphans(plan.orphans, types)
        return PERIOD

    def _create(self, new: NewClass) -> None:
        try:
            created = self.api.create(STORAGE_CLASSES, new.body)
        except Conflict:
            return  # another client created it meanwhile: the next poll reads it
        if new.taken_name:
            type = new.body["parameters"]["type"]
            message = f"for the volume type {type!r}: another class has the name {new.taken_name}"
            self.events.event(created, "StorageClassRenamed", message, "Normal")

    def _report_orphans(self, orphans: Sequence[Object], types: Mapping[str, str]) -> None:
        """Reports each class once, until its type exists again."""
        for orphan in orphans:
            if orphan["metadata"]["uid"] not in self._reported:
                type, available = orphan["parameters"]["type"], ", ".join(sorted(types.values()))
                message = f"Cinder has no volume type {type!r} for this project any more; available types: {available}"
                hint = "this class cannot create volumes: delete it once no claim uses it"
                self.events.event(orphan, "VolumeTypeDeleted", f"{message}: {hint}")
        self._reported = {orphan["metadata"]["uid"] for orphan in orphans}


class MetadataCache:
    """Cinder's metadata by id: one list for everything that exists at the start, then one request for each new id."""

    def __init__(
        self,
        list_all: Callable[[], Sequence[CinderVolume] | Sequence[CinderSnapshot]],
        get_one: Callable[[str], CinderVolume | CinderSnapshot | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._list_all, self._get_one, self._clock = list_all, get_one, clock
        self._listed: dict[str, Metadata] = {}
        self._expires: float | None = None
        self._lock = Lock()

    def metadata(self, id: str) -> Metadata | None:
        """None when it does not exist. Raises CloudUnreachable."""
        with self._lock:
            if self._expires is None:
                self._listed = {item.id: item.metadata for item in self._list_all()}
                self._expires = self._clock() + FRESH
            if self._clock() > self._expires:
                self._listed.clear()
            if id in self._listed:
                return self._listed.pop(id)
        item = self._get_one(id)
        return None if item is None else item.metadata


@dataclass
class PolicyReconciler:
    """Records the policies of one kind of object in Cinder's metadata; the key is the object's name.

    It remembers what it wrote, so that it calls Cinder only after a change.
    """

    name: str
    watches: tuple[Resource, ...]
    objects: Store
    read_policy: Callable[[Object], ReclaimPolicy | None]
    cache: MetadataCache
    write: Callable[[str, Metadata], None]
    cluster: str
    events: Recorder
    _written: dict[str, ReclaimPolicy] = field(default_factory=dict)

    def reconcile(self, key: str) -> float | None:
        """Raises CloudUnreachable when Cinder does not answer."""
        found = self.objects.get(key)
        policy = self.read_policy(found) if found else None
        if found is None or policy is None:
            self._written.pop(key, None)
            return None
        if self._written.get(key) != policy:
            try:
                self._write_policy(policy)
            except (Conflict, BadInput, QuotaExceeded) as error:
                message = f"Cinder refused to store the policy on {policy.id}: {error.message}"
                self.events.event(found, "ReclaimPolicyNotRecorded", message)
                return SOON if isinstance(error, Conflict) else LATER
            self._written[key] = policy
        return None

    def _write_policy(self, policy: ReclaimPolicy) -> None:
        metadata = self.cache.metadata(policy.id)
        missing = {} if metadata is None else missing_metadata(policy, metadata, self.cluster)
        if missing:
            try:
                self.write(policy.id, missing)
            except NotFound:
                return  # deleted meanwhile


def volume_policies(objects: Store, volumes: Volumes, cluster: str, events: Recorder) -> PolicyReconciler:
    cache = MetadataCache(volumes.list, volumes.get)
    watches = (PERSISTENT_VOLUMES,)
    return PolicyReconciler(
        "volume-policies", watches, objects, read_volume_policy, cache, volumes.set_metadata, cluster, events
    )


def snapshot_policies(objects: Store, volumes: Volumes, cluster: str, events: Recorder) -> PolicyReconciler:
    cache = MetadataCache(volumes.snapshots, volumes.get_snapshot)
    watches = (SNAPSHOT_CONTENTS,)
    return PolicyReconciler(
        "snapshot-policies",
        watches,
        objects,
        read_snapshot_policy,
        cache,
        volumes.set_snapshot_metadata,
        cluster,
        events,
    )
