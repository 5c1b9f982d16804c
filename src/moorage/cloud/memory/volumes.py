"""Volumes in memory: statuses that take time, rejections by status, quotas, and faults."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from uuid import UUID

from moorage.cloud.memory.store import ResourceStore
from moorage.cloud.port.volumes import CinderSnapshot, CinderVolume, NewVolume, VolumeAttachment
from moorage.model.errors import BadInput, CloudUnreachable, Conflict, NotFound, QuotaExceeded

LIMITS = {"volumes": 100, "gigabytes": 1000, "snapshots": 100}
TYPES = {"type-1": "files", "type-2": "fast"}  # the first is the default
ATTACHED = ("reserved", "in-use", "detaching", "extending", "retyping")


@dataclass
class MemoryVolumes:
    """The port `Volumes`. A change is complete once the volume was read `polls` times.

    `servers` are Nova's. Faults: `unreachable` is why no service answers; `failing` maps a call (create, delete,
    extend, retype, attach, detach, create_snapshot, delete_snapshot) to the message with which the change fails later.
    `calls` are the calls so far.
    """

    servers: set[str] = field(default_factory=set)
    zone_names: tuple[str, ...] = ("nova",)
    type_names: Mapping[str, str] = field(default_factory=lambda: dict(TYPES))
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    max_disks: int = 26
    polls: int = 1
    unreachable: str = ""
    failing: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    store: ResourceStore[CinderVolume] = field(default_factory=ResourceStore)
    snapshot_store: ResourceStore[CinderSnapshot] = field(default_factory=ResourceStore)
    _messages: dict[str, str] = field(default_factory=dict)
    _servers_by_volume: dict[str, str] = field(default_factory=dict)
    """The server of every volume that is attached, attaching or detaching."""
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def create(self, request: NewVolume) -> CinderVolume:
        self._record_call("create")
        self._check(request)
        kind = request.type or next(iter(self.type_names.values()))
        pending = CinderVolume(
            id=self._new_id(),
            name=request.name,
            size=request.size,
            status="creating",
            type=self.type_names.get(kind, kind),
            zone=request.zone or self.zone_names[0],
            snapshot=request.snapshot,
            source=request.source,
            metadata=dict(request.metadata),
            created_at=float(next(self._ids)),
        )
        self._begin_change("create", pending, replace(pending, status="available"), replace(pending, status="error"))
        return pending

    def get(self, id: str) -> CinderVolume | None:
        self._record_call("get")
        return self.store.get(id)

    def list(self, name: str = "") -> builtins.list[CinderVolume]:
        self._record_call("list")
        return [volume for volume in self.store.list() if name in ("", volume.name)]

    def delete(self, id: str) -> None:
        self._record_call("delete")
        volume = self._get_volume(id)
        _check_status(volume, "available", "error", "error_extending")
        if any(snapshot.volume == id for snapshot in self.snapshot_store.peek_all()):
            raise Conflict(f"Invalid volume: volume {id} has dependent snapshots")
        pending = replace(volume, status="deleting")
        self._begin_change("delete", pending, None, replace(volume, status="error_deleting"))

    def extend(self, id: str, size: int) -> None:
        self._record_call("extend")
        volume = self._get_volume(id)
        _check_status(volume, "available", "in-use")
        if size <= volume.size:
            raise Conflict(f"New size for extend must be greater than {volume.size}")
        self._check_quota("gigabytes", size - volume.size)
        grown, failed = replace(volume, size=size), replace(volume, status="error_extending")
        self._begin_change("extend", replace(volume, status="extending"), grown, failed)

    def retype(self, id: str, type: str) -> None:
        self._record_call("retype")
        volume = self._get_volume(id)
        if type not in self.type_names.values():
            raise NotFound(f"Cinder has no volume type {type!r}")
        _check_status(volume, "available", "in-use")
        self._begin_change("retype", replace(volume, status="retyping"), replace(volume, type=type), volume)

    def set_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        self._record_call("set_metadata")
        if (status := self._get_volume(id).status) in ("maintenance", "uploading"):
            raise Conflict(f"Cinder refused: metadata cannot be changed in status {status}")
        self.store.update(id, lambda volume: replace(volume, metadata={**volume.metadata, **metadata}))

    def last_message(self, id: str) -> str:
        self._record_call("last_message")
        return self._messages.get(id, "")

    def create_snapshot(self, name: str, volume: str, force: bool, metadata: Mapping[str, str]) -> CinderSnapshot:
        self._record_call("create_snapshot")
        source = self._get_volume(volume)
        _check_status(source, "available", *(["in-use"] if force else []))
        self._check_quota("snapshots", 1)
        created_at = float(next(self._ids))
        pending = CinderSnapshot(self._new_id(), name, volume, source.size, "creating", dict(metadata), created_at)
        failed = self._record_failure("create_snapshot", pending.id)
        self.snapshot_store.begin(pending, replace(pending, status="error" if failed else "available"), self.polls)
        return pending

    def get_snapshot(self, id: str) -> CinderSnapshot | None:
        self._record_call("get_snapshot")
        return self.snapshot_store.get(id)

    def snapshots(self, name: str = "") -> builtins.list[CinderSnapshot]:
        self._record_call("snapshots")
        return [snapshot for snapshot in self.snapshot_store.list() if name in ("", snapshot.name)]

    def delete_snapshot(self, id: str) -> None:
        self._record_call("delete_snapshot")
        snapshot = self._get_snapshot(id)
        _check_status(snapshot, "available", "error")
        failed = self._record_failure("delete_snapshot", id)
        pending = replace(snapshot, status="deleting")
        self.snapshot_store.begin(pending, replace(snapshot, status="error_deleting") if failed else None, self.polls)

    def set_snapshot_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        self._record_call("set_snapshot_metadata")
        self._get_snapshot(id)
        self.snapshot_store.update(id, lambda snapshot: replace(snapshot, metadata={**snapshot.metadata, **metadata}))

    def attached(self, server: str) -> frozenset[str] | None:
        self._record_call("attached")
        if server not in self.servers:
            return None
        ids = [id for id, holder in self._servers_by_volume.items() if holder == server]
        volumes = [self.store.get(id) for id in ids]
        return frozenset(volume.id for volume in volumes if volume is not None and volume.status in ATTACHED)

    def attach(self, server: str, volume: str) -> None:
        self._record_call("attach")
        available = self._get_volume(volume)
        self._check_server(server)
        _check_status(available, "available")
        if len(self._attached_to(server)) >= self.max_disks:
            raise QuotaExceeded(f"Nova refused: more than {self.max_disks} disk devices at server {server}")
        self._servers_by_volume[volume] = server
        attached = replace(available, status="in-use", attachments=(VolumeAttachment(self._new_id(), server),))
        self._begin_change("attach", replace(available, status="reserved"), attached, available)

    def detach(self, server: str, volume: str) -> None:
        self._record_call("detach")
        attached = self._get_volume(volume)
        self._check_server(server)
        if volume not in self._attached_to(server):
            raise NotFound(f"server {server} does not have volume {volume}")
        _check_status(attached, "in-use")
        available = replace(attached, status="available", attachments=())
        self._begin_change("detach", replace(attached, status="detaching"), available, attached)

    def delete_attachment(self, attachment: str) -> None:
        self._record_call("delete_attachment")
        attached = [volume for volume in self.store.peek_all() if attachment in (a.id for a in volume.attachments)]
        if not attached:
            raise NotFound(f"Cinder has no attachment {attachment}")
        if any(a.server in self.servers for a in attached[0].attachments):
            raise Conflict(f"attachment {attachment} is in use by its server")
        self.store.put(replace(attached[0], status="available", attachments=()))

    def types(self) -> Mapping[str, str]:
        self._record_call("types")
        return dict(self.type_names)

    def default_type(self) -> str:
        self._record_call("default_type")
        return next(iter(self.type_names.values()), "")

    def zones(self) -> builtins.list[str]:
        self._record_call("zones")
        return sorted(self.zone_names)

    def remaining_quota(self, type: str = "") -> int | None:
        self._record_call("remaining_quota")
        names = [name for name in ("gigabytes", f"gigabytes_{type}") if name in self.limits]
        return min((self.limits[name] - self._used(name) for name in names), default=None)

    def delete_server(self, server: str) -> None:
        """What Nova does when it deletes a server: release its volumes."""
        self.servers.discard(server)
        for id in [id for id, holder in self._servers_by_volume.items() if holder == server]:
            del self._servers_by_volume[id]
            if (volume := self.store.peek(id)) is not None:
                self.store.put(replace(volume, status="available", attachments=()))

    def _record_call(self, call: str) -> None:
        self.calls.append(call)
        if self.unreachable:
            raise CloudUnreachable(self.unreachable, service=self.unreachable.split()[0])

    def _new_id(self) -> str:
        """Ids differ in their first characters, because a disk's serial is the start of the id."""
        return str(UUID(int=next(self._ids) << 96))

    def _check(self, request: NewVolume) -> None:
        if request.type and request.type not in (*self.type_names, *self.type_names.values()):
            raise NotFound(f"Cinder has no volume type {request.type!r}")
        if request.zone and request.zone not in self.zone_names:
            raise BadInput(f"Cinder refused: Availability zone '{request.zone}' is invalid")
        for id, store in ((request.snapshot, self.snapshot_store), (request.source, self.store)):
            source = store.peek(id)
            if id and source is None:
                raise NotFound(f"Cinder has no {id}")
            if source is not None and source.size > request.size:
                raise BadInput(f"Cinder refused: size {request.size} is less than the source's {source.size}")
        self._check_quota("volumes", 1)
        self._check_quota("gigabytes", request.size)

    def _used(self, name: str) -> int:
        if name == "snapshots":
            return len(self.snapshot_store.peek_all())
        kind = name.removeprefix("gigabytes").removeprefix("_")
        volumes = [volume for volume in self.store.peek_all() if name == "volumes" or kind in ("", volume.type)]
        return len(volumes) if name == "volumes" else sum(volume.size for volume in volumes)

    def _check_quota(self, name: str, amount: int) -> None:
        if self._used(name) + amount > self.limits[name]:
            raise QuotaExceeded(f"Cinder refused: {amount} more exceed the quota of {self.limits[name]} {name}")

    def _get_volume(self, id: str) -> CinderVolume:
        volume = self.store.peek(id)
        if volume is None:
            raise NotFound(f"Cinder has no volume {id}")
        return volume

    def _get_snapshot(self, id: str) -> CinderSnapshot:
        snapshot = self.snapshot_store.peek(id)
        if snapshot is None:
            raise NotFound(f"Cinder has no snapshot {id}")
        return snapshot

    def _check_server(self, id: str) -> None:
        if id not in self.servers:
            raise NotFound(f"Nova has no server {id}")

    def _attached_to(self, server: str) -> builtins.list[str]:
        volumes = ((id, self.store.peek(id)) for id, holder in self._servers_by_volume.items() if holder == server)
        return [id for id, volume in volumes if volume is not None and volume.status in ATTACHED]

    def _record_failure(self, change: str, id: str) -> bool:
        if change in self.failing:
            self._messages[id] = self.failing[change]
        return change in self.failing

    def _begin_change(
        self, change: str, pending: CinderVolume, completed: CinderVolume | None, failed: CinderVolume
    ) -> None:
        self.store.begin(pending, failed if self._record_failure(change, pending.id) else completed, self.polls)


def _check_status(resource: CinderVolume | CinderSnapshot, *statuses: str) -> None:
    if resource.status not in statuses:
        raise Conflict(f"Cinder refused: the status must be {' or '.join(statuses)}, not {resource.status}")
