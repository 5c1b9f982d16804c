"""By which names, tags and descriptions a load balancer's things are known; those of OpenStack's cloud provider.

That provider names a load balancer, and tags it and its listeners, `kube_service_CLUSTER_NAMESPACE_NAME`: its load
balancers are found by ours. Only the tag of the cluster is our own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from moorage.cloud.balancers import Balancer, Listener
from moorage.model.cluster import owned_by

PREFIX = "kube_service_"
BEFORE = "Floating IP for Kubernetes external service "  # as the provider before us begins a description
KEY = "[a-z0-9.-]+/[a-z0-9.-]+"  # namespace and name, by Kubernetes' rule for names
LONGEST = 255  # characters in a name or tag of Octavia


def cluster_tag(cluster: str) -> str:
    """On every load balancer that was made for the cluster."""
    return f"moorage_cluster_{cluster}"[:LONGEST]


@dataclass(frozen=True)
class Whose:
    """A Service of a cluster, as the cloud is told of it."""

    cluster: str
    namespace: str
    service: str

    @property
    def tag(self) -> str:
        """Also the load balancer's name."""
        return f"{PREFIX}{self.cluster}_{self.namespace}_{self.service}"[:LONGEST]

    @property
    def description(self) -> str:
        """Of floating IPs and security group rules."""
        return f"{owned_by(self.cluster)}, Service {self.namespace}/{self.service}"

    @property
    def descriptions(self) -> tuple[str, str]:
        """Ours, and that of the provider before us."""
        before = (
            f"Floating IP for Kubernetes external service {self.namespace}/{self.service} from cluster {self.cluster}"
        )
        return self.description, before

    def part(self, kind: str, protocol: str, port: int) -> str:
        """The name of a listener or a pool."""
        return f"{kind}_{protocol.lower()}_{port}_{self.tag}"[:LONGEST]

    def tags(self) -> tuple[str, ...]:
        return (self.tag, cluster_tag(self.cluster))


def sharers(balancer: Balancer, whose: Whose) -> tuple[str, ...]:
    """Tags of other Services, of whatever cluster, that have ports on the load balancer."""
    return tuple(tag for tag in balancer.tags if tag.startswith(PREFIX) and tag != whose.tag)


def made_for(balancer: Balancer, cluster: str) -> bool:
    """Whether it was made for this cluster, by us or by the provider before us; else it only serves it."""
    return cluster_tag(cluster) in balancer.tags or service_named(balancer.name, cluster) is not None


def service_named(tag: str, cluster: str) -> str | None:
    """`namespace/name` of the Service of this cluster that has the tag, None when it is of another.

    Neither part can have an underscore, so that the cluster `a` does not take the tags of a cluster `a_b` for its own.
    """
    found = re.fullmatch(r"([^_]+)_([^_]+)", tag.removeprefix(f"{PREFIX}{cluster}_"))
    return f"{found[1]}/{found[2]}" if found and tag.startswith(f"{PREFIX}{cluster}_") else None


def belongs(listener: Listener, balancer: Balancer, whose: Whose) -> bool:
    """Whether a listener is this Service's. Early ones of the provider before us have no tags."""
    if any(tag.startswith(PREFIX) for tag in listener.tags):
        return whose.tag in listener.tags
    return balancer.name == whose.tag and made_for(balancer, whose.cluster)


def service_of(description: str, cluster: str) -> str | None:
    """`namespace/name` of the Service of this cluster that a description names, None when it names none."""
    ours = re.fullmatch(f"{re.escape(owned_by(cluster))}, Service ({KEY})", description)
    theirs = re.fullmatch(f"{BEFORE}({KEY}) from cluster {re.escape(cluster)}", description)
    found = ours or theirs
    return found[1] if found else None
