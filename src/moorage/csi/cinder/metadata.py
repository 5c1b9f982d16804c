"""The metadata of volumes and snapshots in Cinder: their owner, and whether they outlive their cluster. Pure.

The owner has two keys, that of the Cinder CSI plugin and ours: the plugin's does not identify the kind of cluster that
has the name. The CSI driver does not receive reclaim policies; `moorage cluster delete` reads them from Cinder, because
the Kubernetes API may no longer exist by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moorage.csi.cinder.parameters import SIDECARS
from moorage.kube.port import Object
from moorage.model.ownership import CINDER_DRIVER, CLUSTER_MARK, RECLAIM_MARK, RETAIN

CLUSTER = "cinder.csi.openstack.org/cluster"
MAX_VALUE = 255  # characters of a value (cinder/api/schemas)


PROVISIONED = "pv.kubernetes.io/provisioned-by"  # the external-provisioner deletes only volumes with this annotation


def build_metadata(cluster: str, given: Mapping[str, str]) -> dict[str, str]:
    """Cinder's metadata: the cluster, and the claim or snapshot that the sidecars name."""
    claim = {key: value[:MAX_VALUE] for key, value in given.items() if key.startswith(SIDECARS)}
    return claim | {CLUSTER: cluster, CLUSTER_MARK: cluster}


def is_owned_by(metadata: Mapping[str, str], cluster: str) -> bool:
    return metadata.get(CLUSTER) == cluster


@dataclass(frozen=True)
class ReclaimPolicy:
    """The policy of the Cinder volume or snapshot `id`.

    `provisioned` is whether this cluster created it, with Moorage's driver or with the plugin that used the driver's
    name before; otherwise a user created it.
    """

    id: str
    retain: bool
    provisioned: bool


def read_volume_policy(volume: Object) -> ReclaimPolicy | None:
    """None for a PersistentVolume of another driver."""
    spec = volume["spec"]
    csi = spec.get("csi") or {}
    if csi.get("driver") != CINDER_DRIVER:
        return None
    provisioned = (volume["metadata"].get("annotations") or {}).get(PROVISIONED) == CINDER_DRIVER
    return ReclaimPolicy(csi["volumeHandle"], spec.get("persistentVolumeReclaimPolicy") == RETAIN, provisioned)


def read_snapshot_policy(content: Object) -> ReclaimPolicy | None:
    """None for a VolumeSnapshotContent of another driver, or without a snapshot so far."""
    spec = content["spec"]
    handle = (content.get("status") or {}).get("snapshotHandle")
    if spec.get("driver") != CINDER_DRIVER or not handle:
        return None
    return ReclaimPolicy(handle, spec.get("deletionPolicy") == RETAIN, "volumeHandle" in (spec.get("source") or {}))


def missing_metadata(policy: ReclaimPolicy, metadata: Mapping[str, str], cluster: str) -> dict[str, str]:
    """The metadata to write. It overwrites outdated values, because keys are never removed.

    It changes nothing on what another cluster created, and keeps what users wrote on what they created.
    """
    owner = metadata.get(CLUSTER_MARK) or (cluster if policy.provisioned else "")
    if owner != cluster:
        return {}
    missing = {} if metadata.get(CLUSTER_MARK) else {CLUSTER_MARK: cluster}
    retained = metadata.get(RECLAIM_MARK) == RETAIN
    if policy.retain and not retained:
        missing[RECLAIM_MARK] = RETAIN
    if retained and policy.provisioned and not policy.retain:
        missing[RECLAIM_MARK] = "Delete"
    return missing
