"""Taints, labels and annotations of Nodes that several of our programs use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
"""Kubernetes' taint of a Node that no cloud provider has initialized."""
GROUP_LABEL = "moorage.io/node-group"
"""The label with the name of a Node's group; "control-plane" for those."""
GROUPS = "kube-system/moorage-node-groups"
"""The ConfigMap with a JSON object for each group's stack: {"labels": {}, "taints": [{"key", "effect", "value"}]}."""
REMOVING = "moorage.io/removing"
"""The annotation of a Node that is being drained, in order to be removed."""
IMAGE, FAILED_IMAGE, OTHER_IMAGE = "moorage.io/image", "moorage.io/failed-image", "moorage.io/other-image"
"""The annotations with the version of the image that a node runs, of another one that did not come up, and of the
healthy one in the other slot."""
IMAGE_FORMAT = "moorage.io/image-format"
"""The annotation with the format of images that a node boots: squashfs or disk."""
RETURNING = "moorage.io/returning"
"""The annotation of a Node with the version that it is to return to, until it runs that."""
CORDONED = "moorage.io/cordoned"
"""The annotation of a Node that was cordoned to boot another image."""
EXTERNAL_IPS = "node-restriction.kubernetes.io/external-ips"
"""The label with a node's floating IPs, set by moorage-controller.

NodeRestriction keeps kubelets from setting it, so that CertificateReconciler trusts it.
"""


def stack_of(node: str) -> str:
    """The name of the stack of a node group that has this node; the stack of a revision."""
    return node.rpartition("-")[0]


def external_ips_label(addresses: Iterable[str]) -> str:
    """The value of EXTERNAL_IPS, in characters that a label allows; "" for none."""
    return "_".join(sorted(addresses))


def external_ips(labels: Mapping[str, str]) -> set[str]:
    """The addresses in a node's labels."""
    return {one for one in labels.get(EXTERNAL_IPS, "").split("_") if one}
