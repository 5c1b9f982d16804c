"""The metadata of volumes and snapshots: their owner, by the key of the Cinder CSI plugin and by ours.

The plugin's key does not identify the kind of cluster that has the name. Volumes that are deleted with their
cluster have our key, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from moorage.csi.cinder.parameters import SIDECARS
from moorage.model.ownership import CLUSTER_MARK

CLUSTER = "cinder.csi.openstack.org/cluster"
MAX_VALUE = 255  # characters of a value (cinder/api/schemas)


def build_metadata(cluster: str, given: Mapping[str, str]) -> dict[str, str]:
    """Cinder's metadata: the cluster, and the claim or snapshot that the sidecars name."""
    claim = {key: value[:MAX_VALUE] for key, value in given.items() if key.startswith(SIDECARS)}
    return claim | {CLUSTER: cluster, CLUSTER_MARK: cluster}


def is_owned_by(metadata: Mapping[str, str], cluster: str) -> bool:
    return metadata.get(CLUSTER) == cluster
