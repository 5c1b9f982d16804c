"""How what a cluster makes in its cloud is known to be its own: by description, by tag, by metadata.

The cluster's programs write it; whoever deletes the cluster reads it, when there may be no API left to ask. Services
are named in the words of OpenStack's cloud provider (`kube_service_…`), whose load balancers and floating IPs are found
by ours; what is to be taken away with a cluster has a word of our own beside these, because another cluster of that
name, which is not Moorage's, may have written the others.
"""

from __future__ import annotations

import re

SERVICE_PREFIX = "kube_service_"
LONGEST_TAG = 255  # characters in a name or tag of Octavia
KEY = "[a-z0-9.-]+/[a-z0-9.-]+"  # namespace and name, by Kubernetes' rule for names
KEPT = ", kept"

CINDER_DRIVER = "cinder.csi.openstack.org"
CINDER_ZONE = f"topology.{CINDER_DRIVER}/zone"
"""The topology key under which the driver's nodes and volumes tell their zone."""
# Cinder's metadata of a volume or snapshot. Without a slash: Cinder takes no such key for a snapshot that is there.
CLUSTER_MARK = "moorage_cluster"
"""The cluster that made it, and with which it goes."""
RECLAIM_MARK, RETAIN = "moorage_reclaim_policy", "Retain"
"""Kubernetes' word that it is to outlive its object, and so its cluster; any other value means nothing."""


def owned_by(cluster: str) -> str:
    """What Neutron's objects of a cluster say of themselves in their description; the templates write it."""
    return f"Moorage cluster {cluster}"


def cluster_tag(cluster: str) -> str:
    """On every load balancer that was made for the cluster."""
    return f"moorage_cluster_{cluster}"[:LONGEST_TAG]


def serving_tag(cluster: str) -> str:
    """On a load balancer that was not made for the cluster, and has ports of its Services."""
    return f"moorage_serves_{cluster}"[:LONGEST_TAG]


def service_tag(cluster: str, namespace: str, service: str) -> str:
    """On the load balancer and the listeners of a Service; also the load balancer's name."""
    return f"{SERVICE_PREFIX}{cluster}_{namespace}_{service}"[:LONGEST_TAG]


def service_named(tag: str, cluster: str) -> str | None:
    """`namespace/name` of the Service of this cluster that has the tag, None when it is of another.

    Neither part can have an underscore, so that the cluster `a` does not take the tags of a cluster `a_b` for its own.
    """
    found = re.fullmatch(r"([^_]+)_([^_]+)", tag.removeprefix(f"{SERVICE_PREFIX}{cluster}_"))
    return f"{found[1]}/{found[2]}" if found and tag.startswith(f"{SERVICE_PREFIX}{cluster}_") else None


def service_description(cluster: str, key: str, *, kept: bool = False) -> str:
    """Of floating IPs and security group rules of the Service `namespace/name`; what is `kept` outlives it."""
    return f"{owned_by(cluster)}, Service {key}" + (KEPT if kept else "")


def described_service(description: str, cluster: str) -> str | None:
    """`namespace/name` of the Service of this cluster that a description of ours names, None when it names none."""
    found = re.fullmatch(f"{re.escape(service_description(cluster, ''))}({KEY})({KEPT})?", description)
    return found[1] if found else None


def described_kept(description: str) -> bool:
    """Whether a description of ours says that the thing outlives its Service."""
    return description.endswith(KEPT)


def former_description(cluster: str, key: str) -> str:
    """As `service_description`, in the words of the provider before us."""
    return f"Floating IP for Kubernetes external service {key} from cluster {cluster}"


def formerly_described(description: str, cluster: str) -> str | None:
    """As `described_service`, for the words of the provider before us."""
    before, after = former_description(cluster, "\n").split("\n")
    found = re.fullmatch(f"{re.escape(before)}({KEY}){re.escape(after)}", description)
    return found[1] if found else None
