"""Which resources a cluster owns in its cloud, by description, tag or metadata.

The cluster's programs write these; the deletion of the cluster reads them, possibly without an API to ask. Services are
named as in OpenStack's cloud provider (`kube_service_…`), so that we find its load balancers and floating IPs. A word
of our own marks what is deleted with a cluster, because a cluster of that name that is not Moorage's may have written
the other names.
"""

from __future__ import annotations

import re

SERVICE_PREFIX = "kube_service_"
LONGEST_TAG = 255  # characters in a name or tag, Octavia's limit
KEY = "[a-z0-9.-]+/[a-z0-9.-]+"  # namespace and name, in the characters that Kubernetes allows
KEPT = ", kept"

CINDER_DRIVER = "cinder.csi.openstack.org"
CINDER_ZONE = f"topology.{CINDER_DRIVER}/zone"
"""The topology key with the zone of nodes and volumes, as the CSI driver reports it."""
# Keys in Cinder's metadata of volumes and snapshots. Cinder accepts no key with a slash for an existing snapshot.
CLUSTER_MARK = "moorage_cluster"
"""The cluster that created it, and with which it is deleted."""
NODE_MARK = "moorage_node"
"""The key in a server's metadata with the name of its Node."""
RECLAIM_MARK, RETAIN = "moorage_reclaim_policy", "Retain"
"""Kubernetes' reclaim policy by which it outlives its object, and so its cluster; other values mean nothing."""


def owned_by(cluster: str) -> str:
    """The description of a cluster's Neutron resources; the templates write it."""
    return f"Moorage cluster {cluster}"


def cluster_tag(cluster: str) -> str:
    """The tag of every load balancer that was created for the cluster."""
    return f"moorage_cluster_{cluster}"[:LONGEST_TAG]


def serving_tag(cluster: str) -> str:
    """The tag of a load balancer that was not created for the cluster and has ports of its Services."""
    return f"moorage_serves_{cluster}"[:LONGEST_TAG]


def service_tag(cluster: str, namespace: str, service: str) -> str:
    """The tag of a Service's load balancer and listeners; also the load balancer's name."""
    return f"{SERVICE_PREFIX}{cluster}_{namespace}_{service}"[:LONGEST_TAG]


def service_named(tag: str, cluster: str) -> str | None:
    """`namespace/name` of this cluster's Service with that tag, None for another cluster's.

    Neither part contains an underscore, so that a cluster `a` does not claim the tags of a cluster `a_b`.
    """
    found = re.fullmatch(r"([^_]+)_([^_]+)", tag.removeprefix(f"{SERVICE_PREFIX}{cluster}_"))
    return f"{found[1]}/{found[2]}" if found and tag.startswith(f"{SERVICE_PREFIX}{cluster}_") else None


def service_description(cluster: str, key: str, *, kept: bool = False) -> str:
    """The description of floating IPs and rules of the Service `namespace/name`; `kept` ones outlive it."""
    return f"{owned_by(cluster)}, Service {key}" + (KEPT if kept else "")


def described_service(description: str, cluster: str) -> str | None:
    """`namespace/name` of this cluster's Service in one of our descriptions, None when there is none."""
    found = re.fullmatch(f"{re.escape(service_description(cluster, ''))}({KEY})({KEPT})?", description)
    return found[1] if found else None


def described_kept(description: str) -> bool:
    """Whether one of our descriptions says that the resource outlives its Service."""
    return description.endswith(KEPT)


def former_description(cluster: str, key: str) -> str:
    """As `service_description`, in the words of OpenStack's cloud provider."""
    return f"Floating IP for Kubernetes external service {key} from cluster {cluster}"


def formerly_described(description: str, cluster: str) -> str | None:
    """As `described_service`, for the words of OpenStack's cloud provider."""
    before, after = former_description(cluster, "\n").split("\n")
    found = re.fullmatch(f"{re.escape(before)}({KEY}){re.escape(after)}", description)
    return found[1] if found else None
