"""Volumes in memory: statuses that take time, rejections by status, quotas, and faults."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from uuid import UUID

from moorage.cloud.memory_store import ResourceStore
from moorage.cloud.volumes import CinderSnapshot, CinderVolume, NewVolume, VolumeAttachment
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded

LIMITS = {"volumes": 100, "gigabytes": 1000, "snapshots": 100}
TYPES = {"type-1": "files", "type-2": "fast"}  # the first is the default
HELD = ("reserved", "in-use", "detaching", "extending", "retyping")


@dataclass
class MemoryVolumes:
    """The port `Volumes`. A change is complete once the volume was read `polls` times.

    `servers` are Nova's. Faults: `unreachable` is why no service answers; `failing` maps a call (create, delete,
    extend, retype, attach, detach, create_snapshot, delete_snapshot) to the message with which the change fails later.
    `asked` are the calls so far.
    """

    servers: set[str] = field(default_factory=set)
    zone_names: tuple[str, ...] = ("nova",)
    type_names: Mapping[str, str] = field(default_factory=lambda: dict(TYPES))
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    max_disks: int = 26
    polls: int = 1
    unreachable: str = ""
    failing: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    store: ResourceStore[CinderVolume] = field(default_factory=ResourceStore)
    snapshot_store: ResourceStore[CinderSnapshot] = field(default_factory=ResourceStore)
    _messages: dict[str, str] = field(default_factory=dict)
    _bringing: dict[str, str] = field(default_factory=dict)
    """The server of every volume that is attached, attaching or detaching."""
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def create(self, wanted: NewVolume) -> CinderVolume:
        self._answer("create")
        self._check(wanted)
        kind = wanted.type or next(iter(self.type_names.values()))
        begun = CinderVolume(
            id=self._id(),
            name=wanted.name,
            size=wanted.size,
            status="creating",
            type=self.type_names.get(kind, kind),
            zone=wanted.zone or self.zone_names[0],
            snapshot=wanted.snapshot,
            source=wanted.source,
            metadata=dict(wanted.metadata),
            created_at=float(next(self._ids)),
        )
        self._volume_begins("create", begun, replace(begun, status="available"), replace(begun, status="error"))
        return begun

    def get(self, id: str) -> CinderVolume | None:
        self._answer("get")
        return self.store.get(id)

    def list(self, name: str = "") -> builtins.list[CinderVolume]:
        self._answer("list")
        return [volume for volume in self.store.list() if name in ("", volume.name)]

    def delete(self, id: str) -> None:
        self._answer("delete")
        volume = self._there(id)
        _allow(volume, "available", "error", "error_extending")
        if any(snapshot.volume == id for snapshot in self.snapshot_store.peek_all()):
            raise Conflict(f"Invalid volume: volume {id} has dependent snapshots")
        begun = replace(volume, status="deleting")
        self._volume_begins("delete", begun, None, replace(volume, status="error_deleting"))

    def extend(self, id: str, size: int) -> None:
        self._answer("extend")
        volume = self._there(id)
        _allow(volume, "available", "in-use")
        if size <= volume.size:
            raise Conflict(f"New size for extend must be greater than {volume.size}")
        self._within("gigabytes", size - volume.size)
        grown, failed = replace(volume, size=size), replace(volume, status="error_extending")
        self._volume_begins("extend", replace(volume, status="extending"), grown, failed)

    def retype(self, id: str, type: str) -> None:
        self._answer("retype")
        volume = self._there(id)
        if type not in self.type_names.values():
            raise NotFound(f"Cinder knows no volume type {type!r}")
        _allow(volume, "available", "in-use")
        self._volume_begins("retype", replace(volume, status="retyping"), replace(volume, type=type), volume)

    def set_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        self._answer("set_metadata")
        if (status := self._there(id).status) in ("maintenance", "uploading"):
            raise Conflict(f"Cinder refused: metadata cannot be changed in status {status}")
        self.store.alter(id, lambda volume: replace(volume, metadata={**volume.metadata, **metadata}))

    def last_message(self, id: str) -> str:
        self._answer("last_message")
        return self._messages.get(id, "")

    def create_snapshot(self, name: str, volume: str, force: bool, metadata: Mapping[str, str]) -> CinderSnapshot:
        self._answer("create_snapshot")
        source = self._there(volume)
        _allow(source, "available", *(["in-use"] if force else []))
        self._within("snapshots", 1)
        created_at = float(next(self._ids))
        begun = CinderSnapshot(self._id(), name, volume, source.size, "creating", dict(metadata), created_at)
        failed = self._fails("create_snapshot", begun.id)
        self.snapshot_store.begin(begun, replace(begun, status="error" if failed else "available"), self.polls)
        return begun

    def get_snapshot(self, id: str) -> CinderSnapshot | None:
        self._answer("get_snapshot")
        return self.snapshot_store.get(id)

    def snapshots(self, name: str = "") -> builtins.list[CinderSnapshot]:
        self._answer("snapshots")
        return [snapshot for snapshot in self.snapshot_store.list() if name in ("", snapshot.name)]

    def delete_snapshot(self, id: str) -> None:
        self._answer("delete_snapshot")
        snapshot = self._snapshot_there(id)
        _allow(snapshot, "available", "error")
        failed = self._fails("delete_snapshot", id)
        begun = replace(snapshot, status="deleting")
        self.snapshot_store.begin(begun, replace(snapshot, status="error_deleting") if failed else None, self.polls)

    def set_snapshot_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        self._answer("set_snapshot_metadata")
        self._snapshot_there(id)
        self.snapshot_store.alter(id, lambda found: replace(found, metadata={**found.metadata, **metadata}))

    def attached(self, server: str) -> frozenset[str] | None:
        self._answer("attached")
        if server not in self.servers:
            return None
        there = [id for id, at in self._bringing.items() if at == server]
        volumes = [self.store.get(id) for id in there]
        return frozenset(volume.id for volume in volumes if volume is not None and volume.status in HELD)

    def attach(self, server: str, volume: str) -> None:
        self._answer("attach")
        free = self._there(volume)
        self._server(server)
        _allow(free, "available")
        if len(self._at(server)) >= self.max_disks:
            raise QuotaExceeded(f"Nova refused: more than {self.max_disks} disk devices at server {server}")
        self._bringing[volume] = server
        done = replace(free, status="in-use", attachments=(VolumeAttachment(self._id(), server),))
        self._volume_begins("attach", replace(free, status="reserved"), done, free)

    def detach(self, server: str, volume: str) -> None:
        self._answer("detach")
        held = self._there(volume)
        self._server(server)
        if volume not in self._at(server):
            raise NotFound(f"server {server} does not have volume {volume}")
        _allow(held, "in-use")
        free = replace(held, status="available", attachments=())
        self._volume_begins("detach", replace(held, status="detaching"), free, held)

    def delete_attachment(self, attachment: str) -> None:
        self._answer("delete_attachment")
        held = [volume for volume in self.store.peek_all() if attachment in (a.id for a in volume.attachments)]
        if not held:
            raise NotFound(f"Cinder knows no attachment {attachment}")
        if any(a.server in self.servers for a in held[0].attachments):
            raise Conflict(f"attachment {attachment} is in use by its server")
        self.store.put(replace(held[0], status="available", attachments=()))

    def types(self) -> Mapping[str, str]:
        self._answer("types")
        return dict(self.type_names)

    def default_type(self) -> str:
        self._answer("default_type")
        return next(iter(self.type_names.values()), "")

    def zones(self) -> builtins.list[str]:
        self._answer("zones")
        return sorted(self.zone_names)

    def remaining_quota(self, type: str = "") -> int | None:
        self._answer("remaining_quota")
        names = [name for name in ("gigabytes", f"gigabytes_{type}") if name in self.limits]
        return min((self.limits[name] - self._used(name) for name in names), default=None)

    def delete_server(self, server: str) -> None:
        """What Nova does when it deletes a server: release its volumes."""
        self.servers.discard(server)
        for id in [id for id, at in self._bringing.items() if at == server]:
            del self._bringing[id]
            if (volume := self.store.peek(id)) is not None:
                self.store.put(replace(volume, status="available", attachments=()))

    def _answer(self, call: str) -> None:
        self.asked.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])

    def _id(self) -> str:
        """Ids differ in their first characters, because a disk's serial is the start of the id."""
        return str(UUID(int=next(self._ids) << 96))

    def _check(self, wanted: NewVolume) -> None:
        if wanted.type and wanted.type not in (*self.type_names, *self.type_names.values()):
            raise NotFound(f"Cinder knows no volume type {wanted.type!r}")
        if wanted.zone and wanted.zone not in self.zone_names:
            raise BadInput(f"Cinder refused: Availability zone '{wanted.zone}' is invalid")
        for id, store in ((wanted.snapshot, self.snapshot_store), (wanted.source, self.store)):
            source = store.peek(id)
            if id and source is None:
                raise NotFound(f"Cinder knows no {id}")
            if source is not None and source.size > wanted.size:
                raise BadInput(f"Cinder refused: size {wanted.size} is less than the source's {source.size}")
        self._within("volumes", 1)
        self._within("gigabytes", wanted.size)

    def _used(self, name: str) -> int:
        if name == "snapshots":
            return len(self.snapshot_store.peek_all())
        kind = name.removeprefix("gigabytes").removeprefix("_")
        volumes = [volume for volume in self.store.peek_all() if name == "volumes" or kind in ("", volume.type)]
        return len(volumes) if name == "volumes" else sum(volume.size for volume in volumes)

    def _within(self, name: str, more: int) -> None:
        if self._used(name) + more > self.limits[name]:
            raise QuotaExceeded(f"Cinder refused: {more} more exceed the quota of {self.limits[name]} {name}")

    def _there(self, id: str) -> CinderVolume:
        volume = self.store.peek(id)
        if volume is None:
            raise NotFound(f"Cinder knows no volume {id}")
        return volume

    def _snapshot_there(self, id: str) -> CinderSnapshot:
        snapshot = self.snapshot_store.peek(id)
        if snapshot is None:
            raise NotFound(f"Cinder knows no snapshot {id}")
        return snapshot

    def _server(self, id: str) -> None:
        if id not in self.servers:
            raise NotFound(f"Nova knows no server {id}")

    def _at(self, server: str) -> builtins.list[str]:
        seen = ((id, self.store.peek(id)) for id, at in self._bringing.items() if at == server)
        return [id for id, volume in seen if volume is not None and volume.status in HELD]

    def _fails(self, change: str, id: str) -> bool:
        if change in self.failing:
            self._messages[id] = self.failing[change]
        return change in self.failing

    def _volume_begins(self, change: str, now: CinderVolume, then: CinderVolume | None, failed: CinderVolume) -> None:
        self.store.begin(now, failed if self._fails(change, now.id) else then, self.polls)


def _allow(resource: CinderVolume | CinderSnapshot, *statuses: str) -> None:
    if resource.status not in statuses:
        raise Conflict(f"Cinder refused: the status must be {' or '.join(statuses)}, not {resource.status}")
