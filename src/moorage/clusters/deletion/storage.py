"""Plan the deletion of a cluster's volumes and snapshots: which are kept, and the order of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from moorage.cloud.port.volumes import BUSY, CinderSnapshot, CinderVolume, VolumeAttachment
from moorage.clusters.deletion.resources import (
    MAX_REQUESTS,
    Action,
    CleanupPlan,
    Deletion,
    StoredResources,
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


def plan_retention(observed: StoredResources, keep: bool, requests: Mapping[str, int]) -> CleanupPlan:
    """Mark the volumes and snapshots that are kept; `keep` keeps all. `requests` counts this run's by id."""
    kept = _kept(observed, keep)
    return combine(
        _retain(resource, kept[resource.id], requests) for resource in _resources(observed) if resource.id in kept
    )


def plan_storage(observed: StoredResources, keep: bool, requests: Mapping[str, int]) -> CleanupPlan:
    """Delete the others; arguments as above."""
    kept = _kept(observed, keep)
    deleted = [resource for resource in _resources(observed) if resource.id not in kept]
    return combine(_delete(resource, deleted, observed, requests) for resource in deleted)


def claim_of(resource: Resource) -> str:
    """`namespace/name` of its PersistentVolumeClaim or VolumeSnapshot, from the metadata that the sidecars write."""
    kind = "pvc" if isinstance(resource, CinderVolume) else "volumesnapshot"
    names = [resource.metadata.get(f"{SIDECARS}{kind}/{part}", "") for part in ("namespace", "name")]
    return "/".join(names) if all(names) else ""


def _resources(observed: StoredResources) -> list[Resource]:
    return [*snapshots_of(observed), *observed.volumes]


def _kept(observed: StoredResources, keep: bool) -> dict[str, str]:
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


def _foreign_user(volume: CinderVolume, observed: StoredResources, gone: set[str]) -> str:
    """Why resources outside of the cluster need this volume; empty when none does."""
    known = {*observed.servers, *observed.missing_servers}
    strangers = [attachment.server for attachment in volume.attachments if attachment.server not in known]
    if strangers:
        return f"it is attached to server {strangers[0]}, which is not the cluster's"
    stays = [found for found in observed.snapshots if found.volume == volume.id and found.id not in gone]
    return f"its snapshot {stays[0].name or stays[0].id} is kept" if stays else ""


def _retain(resource: Resource, why: str, requests: Mapping[str, int]) -> CleanupPlan:
    shown, bare = replace(_shown(resource), why=why), _shown(resource)
    if _retained(resource):
        return CleanupPlan(kept=(shown,))
    if requests.get(resource.id, 0) >= MAX_REQUESTS:
        return CleanupPlan(blocked=(f"{bare} is {resource.status}: it cannot be marked as kept",), kept=(shown,))
    mark = Action.KEEP_VOLUME if isinstance(resource, CinderVolume) else Action.KEEP_SNAPSHOT
    return CleanupPlan((Deletion(mark, resource.id, f"marking {bare} as kept"),), kept=(shown,))


def _delete(
    resource: Resource, deleted: list[Resource], observed: StoredResources, requests: Mapping[str, int]
) -> CleanupPlan:
    shown = _shown(resource)
    missing_servers = [held for held in _attachments(resource) if held.server in observed.missing_servers]
    if missing_servers and all(requests.get(held.id, 0) < MAX_REQUESTS for held in missing_servers):
        text = f"releasing {shown} from a deleted server"
        drops = (Deletion(Action.DELETE_ATTACHMENT, held.id, text) for held in missing_servers)
        return CleanupPlan(tuple(drops), deleted=(shown,))
    before = [other for other in deleted if _derived_from(other, resource) and not _is_blocked(other, requests)]
    if holds := next(_blockers(resource, before, observed), ""):
        return CleanupPlan(waiting=(holds,), deleted=(shown,))
    if _is_blocked(resource, requests):
        reason = f": {observed.messages[resource.id]}" if observed.messages.get(resource.id) else ""
        return CleanupPlan(blocked=(f"{shown} cannot be deleted, it is {resource.status}{reason}",), deleted=(shown,))
    action = Action.DELETE_VOLUME if isinstance(resource, CinderVolume) else Action.DELETE_SNAPSHOT
    return CleanupPlan((Deletion(action, resource.id, f"deleting {shown}"),), deleted=(shown,))


def _attachments(resource: Resource) -> tuple[VolumeAttachment, ...]:
    return resource.attachments if isinstance(resource, CinderVolume) else ()


def _is_blocked(resource: Resource, requests: Mapping[str, int]) -> bool:
    ends = DELETABLE_VOLUME if isinstance(resource, CinderVolume) else DELETABLE_SNAPSHOT
    return resource.status not in TRANSITIONAL and (
        resource.status not in ends or requests.get(resource.id, 0) >= MAX_REQUESTS
    )


def _blockers(resource: Resource, before: list[Resource], observed: StoredResources) -> Iterator[str]:
    """What must happen before the volume or snapshot can be deleted, deletions of others included."""
    for attachment in _attachments(resource):
        if server := observed.servers.get(attachment.server):
            yield f"waiting for server {server} to release {_shown(resource)}"
    if resource.status in TRANSITIONAL:
        yield f"waiting for Cinder: {_shown(resource)} is {resource.status}"
    for other in before:
        yield f"{_shown(resource)} is deleted after {_shown(other)}"


def _derived_from(other: Resource, resource: Resource) -> bool:
    """Whether the other was created from this one: some backends share data between them and refuse the deletion."""
    if isinstance(other, CinderSnapshot):
        return other.volume == resource.id
    return resource.id in (other.snapshot, other.source)


def _shown(resource: Resource) -> OwnedResource:
    kind = "volume" if isinstance(resource, CinderVolume) else "snapshot"
    return OwnedResource(kind, resource.id, resource.name or resource.id, resource.size, claim_of(resource))
