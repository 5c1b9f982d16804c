"""What a PersistentVolume and a VolumeSnapshotContent say of their thing in Cinder, as Cinder's metadata. Pure.

The CSI driver is told no policy. Whoever deletes the cluster reads it from Cinder, with no API left to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.kube.objects import Object
from moorage.model.ownership import CINDER_DRIVER, CLUSTER_MARK, RECLAIM_MARK, RETAIN

PROVISIONED = "pv.kubernetes.io/provisioned-by"  # the provisioner deletes what has this, and nothing else


@dataclass(frozen=True)
class Policy:
    """Of the thing with that id in Cinder. `made` is whether this cluster had it made: by us, or by the plugin that had
    the driver's name before; else a person brought it."""

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
    """None when it is another driver's, or not made yet."""
    spec = found["spec"]
    handle = (found.get("status") or {}).get("snapshotHandle")
    if spec.get("driver") != CINDER_DRIVER or not handle:
        return None
    return Policy(handle, spec.get("deletionPolicy") == RETAIN, "volumeHandle" in (spec.get("source") or {}))


def lacking(policy: Policy, metadata: Mapping[str, str], cluster: str) -> dict[str, str]:
    """What is to be written: another value in place of one that no longer holds, as no key is ever taken away.

    What another cluster made is left alone, and so is the word of a person on what a person brought.
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
