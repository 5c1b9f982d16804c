"""The names, tags and descriptions of a load balancer and its related resources, as in OpenStack's cloud provider.

That provider names a load balancer `kube_service_CLUSTER_NAMESPACE_NAME`, and tags it and its listeners with the same
text. Moorage uses the same names and therefore finds load balancers of that provider. The formats are defined in
`model.ownership`, because `moorage cluster delete` reads them too.
"""

from __future__ import annotations

from dataclasses import dataclass

from moorage.cloud.port.load_balancers import Listener, LoadBalancer
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
    """A Service of a cluster, and how the cloud's resources refer to it."""

    cluster: str
    namespace: str
    service: str

    @property
    def tag(self) -> str:
        """The tag of the load balancer and its listeners, and the load balancer's name."""
        return service_tag(self.cluster, self.namespace, self.service)

    @property
    def description(self) -> str:
        """The description of floating IPs and security group rules."""
        return service_description(self.cluster, self._key)

    @property
    def floating_ip_descriptions(self) -> tuple[str, ...]:
        """All descriptions of its floating IPs: Moorage's, that of OpenStack's cloud provider, and Moorage's for a
        floating IP that outlives the Service."""
        return self.description, former_description(self.cluster, self._key), self.floating_ip_description(keep=True)

    def floating_ip_description(self, *, keep: bool) -> str:
        """The description of a floating IP; `keep` marks one that outlives the Service."""
        return service_description(self.cluster, self._key, kept=keep)

    @property
    def _key(self) -> str:
        return f"{self.namespace}/{self.service}"

    def resource_name(self, kind: str, protocol: str, port: int) -> str:
        """The name of a listener or a pool."""
        return f"{kind}_{protocol.lower()}_{port}_{self.tag}"[:LONGEST_TAG]

    def owned_tags(self) -> tuple[str, ...]:
        """The tags of a load balancer that is created for the Service."""
        return (self.tag, cluster_tag(self.cluster))

    def shared_tags(self) -> tuple[str, ...]:
        """The tags of a load balancer that the Service uses, but that was not created for its cluster."""
        return (self.tag, serving_tag(self.cluster))


def other_service_tags(load_balancer: LoadBalancer, service_ref: ServiceRef) -> tuple[str, ...]:
    """The tags of other Services, of any cluster, that have ports on the load balancer."""
    return tuple(tag for tag in load_balancer.tags if tag.startswith(SERVICE_PREFIX) and tag != service_ref.tag)


def tags_without_service(load_balancer: LoadBalancer, service_ref: ServiceRef) -> tuple[str, ...]:
    """The load balancer's tags without the Service's; also without the serving tag after its cluster's last Service."""
    remaining = tuple(tag for tag in load_balancer.tags if tag != service_ref.tag)
    last = not any(service_named(tag, service_ref.cluster) for tag in remaining)
    return tuple(tag for tag in remaining if not (last and tag == serving_tag(service_ref.cluster)))


def was_created_for(load_balancer: LoadBalancer, cluster: str) -> bool:
    """Whether Moorage or OpenStack's cloud provider created it for this cluster; otherwise the cluster only uses it."""
    return cluster_tag(cluster) in load_balancer.tags or service_named(load_balancer.name, cluster) is not None


def is_listener_of(listener: Listener, load_balancer: LoadBalancer, service_ref: ServiceRef) -> bool:
    """Whether the listener is this Service's. Early versions of OpenStack's cloud provider did not tag listeners."""
    if any(tag.startswith(SERVICE_PREFIX) for tag in listener.tags):
        return service_ref.tag in listener.tags
    return load_balancer.name == service_ref.tag and was_created_for(load_balancer, service_ref.cluster)


def described_service_key(description: str, cluster: str) -> str | None:
    """`namespace/name` of this cluster's Service in a description, None when it names none."""
    return described_service(description, cluster) or formerly_described(description, cluster)
