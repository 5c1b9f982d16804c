"""What is written on a volume or snapshot: whose it is, in the words of the plugin that had this name before, and ours.

The plugin's word does not tell which kind of cluster has that name. What is to go with its cluster has ours too.
"""

from __future__ import annotations

from collections.abc import Mapping

from moorage.csi.cinder.parameters import SIDECARS
from moorage.model.ownership import CLUSTER_MARK

CLUSTER = "cinder.csi.openstack.org/cluster"
LONGEST = 255  # characters of a value (cinder/api/schemas)


def metadata(cluster: str, given: Mapping[str, str]) -> dict[str, str]:
    """Cinder's metadata: the cluster, and the claim or snapshot that the sidecars name."""
    named = {key: value[:LONGEST] for key, value in given.items() if key.startswith(SIDECARS)}
    return named | {CLUSTER: cluster, CLUSTER_MARK: cluster}


def ours(metadata: Mapping[str, str], cluster: str) -> bool:
    return metadata.get(CLUSTER) == cluster
