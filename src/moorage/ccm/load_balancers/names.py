"""Names, tags and descriptions of a Service's resources, as OpenStack's cloud provider writes them.

That provider names and tags a load balancer and its listeners `kube_service_CLUSTER_NAMESPACE_NAME`, so that we find
its load balancers. The words are in `model.ownership`, because the deletion of a cluster reads them too.
"""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.load_balancers import Listener, LoadBalancer
from moorage.model.ownership import (
    LONGEST_TAG,
    SERVICE_PREFIX,
    cluster_tag,
    described_service,
    former_description,
    formerly_described,
    service_description,
    service_named,
    service_tag,
    serving_tag,
)


@dataclass(frozen=True)
class ServiceRef:
    """A Service of a cluster, as the cloud knows it."""

    cluster: str
    namespace: str
    service: str

    @property
    def tag(self) -> str:
        """The Service's tag, and its load balancer's name."""
        return service_tag(self.cluster, self.namespace, self.service)

    @property
    def description(self) -> str:
        """Of floating IPs and security group rules."""
        return service_description(self.cluster, self._key)

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Of its floating IPs: ours, that of OpenStack's cloud provider, and ours of one that is kept."""
        return self.description, former_description(self.cluster, self._key), self.described(keep=True)

    def described(self, *, keep: bool) -> str:
        """Of a floating IP; with `keep`, one that is kept when the Service is deleted."""
        return service_description(self.cluster, self._key, kept=keep)

    @property
    def _key(self) -> str:
        return f"{self.namespace}/{self.service}"

    def part(self, kind: str, protocol: str, port: int) -> str:
        """The name of a listener or a pool."""
        return f"{kind}_{protocol.lower()}_{port}_{self.tag}"[:LONGEST_TAG]

    def tags(self) -> tuple[str, ...]:
        """Of a load balancer that was created for the Service."""
        return (self.tag, cluster_tag(self.cluster))

    def shared_tags(self) -> tuple[str, ...]:
        """Of a load balancer that the Service uses and that was not created for its cluster."""
        return (self.tag, serving_tag(self.cluster))


def other_services(load_balancer: LoadBalancer, service_ref: ServiceRef) -> tuple[str, ...]:
    """Tags of other Services, of any cluster, that have ports on the load balancer."""
    return tuple(tag for tag in load_balancer.tags if tag.startswith(SERVICE_PREFIX) and tag != service_ref.tag)


def tags_without(load_balancer: LoadBalancer, service_ref: ServiceRef) -> tuple[str, ...]:
    """The load balancer's tags without the Service; the last Service of a cluster also removes the cluster's tag."""
    left = tuple(tag for tag in load_balancer.tags if tag != service_ref.tag)
    last = not any(service_named(tag, service_ref.cluster) for tag in left)
    return tuple(tag for tag in left if not (last and tag == serving_tag(service_ref.cluster)))


def made_for(load_balancer: LoadBalancer, cluster: str) -> bool:
    """Whether it was created for this cluster, by us or by OpenStack's cloud provider; else the cluster only
    uses it.
    """
    return cluster_tag(cluster) in load_balancer.tags or service_named(load_balancer.name, cluster) is not None


def is_listener_of(listener: Listener, load_balancer: LoadBalancer, service_ref: ServiceRef) -> bool:
    """Whether a listener is this Service's. Old ones of OpenStack's cloud provider have no tags."""
    if any(tag.startswith(SERVICE_PREFIX) for tag in listener.tags):
        return service_ref.tag in listener.tags
    return load_balancer.name == service_ref.tag and made_for(load_balancer, service_ref.cluster)


def service_of(description: str, cluster: str) -> str | None:
    """`namespace/name` of this cluster's Service in a description, None when there is none."""
    return described_service(description, cluster) or formerly_described(description, cluster)
