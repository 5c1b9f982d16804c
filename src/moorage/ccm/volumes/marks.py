"""Reclaim policies of PersistentVolumes and VolumeSnapshotContents as metadata in Cinder. Pure.

The CSI driver does not get the policy. The deletion of the cluster reads it from Cinder, without the cluster's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.kube.objects import Object
from moorage.model.ownership import CINDER_DRIVER, CLUSTER_MARK, RECLAIM_MARK, RETAIN

PROVISIONED = "pv.kubernetes.io/provisioned-by"  # the provisioner deletes volumes with this annotation, and no others


@dataclass(frozen=True)
class Policy:
    """The policy of the volume or snapshot with that Cinder id.

    `made` is whether this cluster created it, through us or through the plugin that had the driver's name before;
    otherwise a user imported it.
    """

    id: str
    retain: bool
    made: bool


def of_volume(found: Object) -> Policy | None:
    """None when it is another driver's."""
    spec = found["spec"]
    csi = spec.get("csi") or {}
    if csi.get("driver") != CINDER_DRIVER:
        return None
    made = (found["metadata"].get("annotations") or {}).get(PROVISIONED) == CINDER_DRIVER
    return Policy(csi["volumeHandle"], spec.get("persistentVolumeReclaimPolicy") == RETAIN, made)


def of_snapshot(found: Object) -> Policy | None:
    """None when it is another driver's, or not created yet."""
    spec = found["spec"]
    handle = (found.get("status") or {}).get("snapshotHandle")
    if spec.get("driver") != CINDER_DRIVER or not handle:
        return None
    return Policy(handle, spec.get("deletionPolicy") == RETAIN, "volumeHandle" in (spec.get("source") or {}))


def lacking(policy: Policy, metadata: Mapping[str, str], cluster: str) -> dict[str, str]:
    """The metadata to write. A value that no longer holds is replaced, because keys are never removed.

    Volumes of another cluster are not changed, nor is what a user wrote on a volume that a user imported.
    """
    owner = metadata.get(CLUSTER_MARK) or (cluster if policy.made else "")
    if owner != cluster:
        return {}
    marks = {} if metadata.get(CLUSTER_MARK) else {CLUSTER_MARK: cluster}
    retained = metadata.get(RECLAIM_MARK) == RETAIN
    if policy.retain and not retained:
        marks[RECLAIM_MARK] = RETAIN
    if retained and policy.made and not policy.retain:
        marks[RECLAIM_MARK] = "Delete"
    return marks
