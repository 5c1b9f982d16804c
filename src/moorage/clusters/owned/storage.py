"""Plan the deletion of a cluster's volumes and snapshots: which are kept, and the order of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from moorage.cloud.port.volumes import BUSY, CinderSnapshot, CinderVolume, VolumeAttachment
from moorage.clusters.owned.resources import (
    MAX_REQUESTS,
    CleanupPlan,
    DeleteAttachment,
    DeleteServer,
    DeleteSnapshot,
    DeleteVolume,
    Deletion,
    KeepSnapshot,
    KeepVolume,
    ObservedResources,
    combine,
    snapshots_of,
)
from moorage.model.cluster import OwnedResource
from moorage.model.ownership import RECLAIM_MARK, RETAIN

SIDECARS = "csi.storage.k8s.io/"
# Statuses in which Cinder accepts a deletion (cinder/volume/api.py).
DELETABLE_VOLUME = ("available", "error", "error_restoring", "error_extending", "error_managing")
DELETABLE_SNAPSHOT = ("available", "error")
TRANSITIONAL = BUSY | {"in-use"}  # statuses that end without us, once the cluster's servers are deleted
Resource = CinderVolume | CinderSnapshot


def plan_retention(observed: ObservedResources, keep: bool, asked: Mapping[str, int]) -> CleanupPlan:
    """Mark the volumes and snapshots that are kept; `keep` keeps all. `asked` counts this run's requests by id."""
    kept = _kept(observed, keep)
    return combine(
        _retain(resource, kept[resource.id], asked) for resource in _resources(observed) if resource.id in kept
    )


def plan_storage(observed: ObservedResources, keep: bool, asked: Mapping[str, int]) -> CleanupPlan:
    """Delete the others; arguments as above."""
    kept = _kept(observed, keep)
    deleted = [resource for resource in _resources(observed) if resource.id not in kept]
    return combine(
        [_delete_servers(observed, asked), *(_delete(resource, deleted, observed, asked) for resource in deleted)]
    )


def claim_of(resource: Resource) -> str:
    """`namespace/name` of its PersistentVolumeClaim or VolumeSnapshot, from the metadata that the sidecars write."""
    kind = "pvc" if isinstance(resource, CinderVolume) else "volumesnapshot"
    names = [resource.metadata.get(f"{SIDECARS}{kind}/{part}", "") for part in ("namespace", "name")]
    return "/".join(names) if all(names) else ""


def _resources(observed: ObservedResources) -> list[Resource]:
    return [*snapshots_of(observed), *observed.volumes]


def _kept(observed: ObservedResources, keep: bool) -> dict[str, str]:
    """The reason to keep each kept volume and snapshot, by id."""
    resources = _resources(observed)
    why = {resource.id: "as requested" for resource in resources if keep}
    why |= {resource.id: f"its policy is {RETAIN}" for resource in resources if not keep and _retained(resource)}
    gone = {snapshot.id for snapshot in snapshots_of(observed)} - set(why)
    for volume in observed.volumes:
        if volume.id not in why and (reason := _foreign_user(volume, observed, gone)):
            why[volume.id] = reason
    return why


def _retained(resource: Resource) -> bool:
    return resource.metadata.get(RECLAIM_MARK) == RETAIN


def _foreign_user(volume: CinderVolume, observed: ObservedResources, gone: set[str]) -> str:
    """Why resources outside of the cluster need this volume; empty when none does."""
    known = {server.id for server in observed.servers} | observed.missing_servers
    strangers = [attachment.server for attachment in volume.attachments if attachment.server not in known]
    if strangers:
        return f"it is attached to server {strangers[0]}, which is not the cluster's"
    stays = [found for found in observed.snapshots if found.volume == volume.id and found.id not in gone]
    return f"its snapshot {stays[0].name or stays[0].id} is kept" if stays else ""


def _retain(resource: Resource, why: str, asked: Mapping[str, int]) -> CleanupPlan:
    shown, bare = replace(_shown(resource), why=why), _shown(resource)
    if _retained(resource):
        return CleanupPlan(kept=(shown,))
    if asked.get(resource.id, 0) >= MAX_REQUESTS:
        return CleanupPlan(blocked=(f"{bare} is {resource.status}: it cannot be marked as kept",), kept=(shown,))
    mark = KeepVolume if isinstance(resource, CinderVolume) else KeepSnapshot
    return CleanupPlan((mark(resource.id, f"marking {bare} as kept"),), kept=(shown,))


def _delete(
    resource: Resource, deleted: list[Resource], observed: ObservedResources, asked: Mapping[str, int]
) -> CleanupPlan:
    shown = _shown(resource)
    missing_servers = [held for held in _attachments(resource) if held.server in observed.missing_servers]
    if missing_servers and all(asked.get(held.id, 0) < MAX_REQUESTS for held in missing_servers):
        drops = (DeleteAttachment(held.id, f"releasing {shown} from a deleted server") for held in missing_servers)
        return CleanupPlan(tuple(drops), deleted=(shown,))
    before = [other for other in deleted if _derived_from(other, resource) and not _is_blocked(other, asked)]
    if holds := next(_blockers(resource, before, observed), ""):
        return CleanupPlan(waiting=(holds,), deleted=(shown,))
    if _is_blocked(resource, asked):
        reason = f": {observed.messages[resource.id]}" if observed.messages.get(resource.id) else ""
        return CleanupPlan(blocked=(f"{shown} cannot be deleted, it is {resource.status}{reason}",), deleted=(shown,))
    return CleanupPlan((_deletion_of(resource, f"deleting {shown}"),), deleted=(shown,))


def _attachments(resource: Resource) -> tuple[VolumeAttachment, ...]:
    return resource.attachments if isinstance(resource, CinderVolume) else ()


def _deletion_of(resource: Resource, text: str) -> Deletion:
    return (DeleteVolume if isinstance(resource, CinderVolume) else DeleteSnapshot)(resource.id, text)


def _is_blocked(resource: Resource, asked: Mapping[str, int]) -> bool:
    ends = DELETABLE_VOLUME if isinstance(resource, CinderVolume) else DELETABLE_SNAPSHOT
    return resource.status not in TRANSITIONAL and (
        resource.status not in ends or asked.get(resource.id, 0) >= MAX_REQUESTS
    )


def _blockers(resource: Resource, before: list[Resource], observed: ObservedResources) -> Iterator[str]:
    """What must happen before the volume or snapshot can be deleted, deletions of others included."""
    here = {server.id: server.name for server in observed.servers}
    for attachment in _attachments(resource):
        if attachment.server in here:
            yield f"waiting for server {here[attachment.server]} to release {_shown(resource)}"
    if resource.status in TRANSITIONAL:
        yield f"waiting for Cinder: {_shown(resource)} is {resource.status}"
    for other in before:
        yield f"{_shown(resource)} is deleted after {_shown(other)}"


def _derived_from(other: Resource, resource: Resource) -> bool:
    """Whether the other was created from this one: some backends share data between them and refuse the deletion."""
    if isinstance(other, CinderSnapshot):
        return other.volume == resource.id
    return resource.id in (other.snapshot, other.source)


def _delete_servers(observed: ObservedResources, asked: Mapping[str, int]) -> CleanupPlan:
    """Delete servers that Heat left behind, because they hold volumes."""
    if not observed.stackless:
        return CleanupPlan()
    return CleanupPlan(
        deletions=tuple(
            DeleteServer(s.id, f"deleting server {s.name}") for s in observed.servers if not asked.get(s.id)
        ),
        waiting=tuple(f"waiting for Nova to delete server {s.name}" for s in observed.servers if asked.get(s.id)),
    )


def _shown(resource: Resource) -> OwnedResource:
    kind = "volume" if isinstance(resource, CinderVolume) else "snapshot"
    return OwnedResource(kind, resource.id, resource.name or resource.id, resource.size, claim_of(resource))
