"""What is said of a node by one program and believed by another: a taint, and a label that no kubelet may set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
"""Kubernetes' taint of a node of which no cloud provider has said which server it is."""
EXTERNAL_IPS = "node-restriction.kubernetes.io/external-ips"
"""moorage-controller's word on a node's floating IPs. NodeRestriction keeps kubelets from it: by it the approver of
serving certificates knows them."""


def external_ips_label(addresses: Iterable[str]) -> str:
    """The value of EXTERNAL_IPS, in characters that a label may have; "" for none."""
    return "_".join(sorted(addresses))


def external_ips(labels: Mapping[str, str]) -> set[str]:
    """The addresses that a node's labels name."""
    return {one for one in labels.get(EXTERNAL_IPS, "").split("_") if one}
