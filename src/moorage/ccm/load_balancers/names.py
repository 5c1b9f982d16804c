"""By which names, tags and descriptions a load balancer's things are known; those of OpenStack's cloud provider.

That provider names a load balancer, and tags it and its listeners, `kube_service_CLUSTER_NAMESPACE_NAME`: its load
balancers are found by ours. The words are in `model.ownership`, because who deletes a cluster reads them too.
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
    """A Service of a cluster, as the cloud is told of it."""

    cluster: str
    namespace: str
    service: str

    @property
    def tag(self) -> str:
        """Also the load balancer's name."""
        return service_tag(self.cluster, self.namespace, self.service)

    @property
    def description(self) -> str:
        """Of floating IPs and security group rules."""
        return service_description(self.cluster, self._key)

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Of its floating IPs: ours, that of the provider before us, and ours of one that is to stay."""
        return self.description, former_description(self.cluster, self._key), self.described(keep=True)

    def described(self, *, keep: bool) -> str:
        """Of a floating IP, which may be to keep when the Service goes."""
        return service_description(self.cluster, self._key, kept=keep)

    @property
    def _key(self) -> str:
        return f"{self.namespace}/{self.service}"

    def part(self, kind: str, protocol: str, port: int) -> str:
        """The name of a listener or a pool."""
        return f"{kind}_{protocol.lower()}_{port}_{self.tag}"[:LONGEST_TAG]

    def tags(self) -> tuple[str, ...]:
        """Of a load balancer that is made for it."""
        return (self.tag, cluster_tag(self.cluster))

    def shared_tags(self) -> tuple[str, ...]:
        """Of a load balancer that was not made for its cluster, and is used by it."""
        return (self.tag, serving_tag(self.cluster))


def other_services(load_balancer: LoadBalancer, service_ref: ServiceRef) -> tuple[str, ...]:
    """Tags of other Services, of whatever cluster, that have ports on the load balancer."""
    return tuple(tag for tag in load_balancer.tags if tag.startswith(SERVICE_PREFIX) and tag != service_ref.tag)


def tags_without(load_balancer: LoadBalancer, service_ref: ServiceRef) -> tuple[str, ...]:
    """The load balancer's tags once the Service has left it; with the last of its cluster goes that it serves it."""
    left = tuple(tag for tag in load_balancer.tags if tag != service_ref.tag)
    last = not any(service_named(tag, service_ref.cluster) for tag in left)
    return tuple(tag for tag in left if not (last and tag == serving_tag(service_ref.cluster)))


def made_for(load_balancer: LoadBalancer, cluster: str) -> bool:
    """Whether it was made for this cluster, by us or by the provider before us; else it only serves it."""
    return cluster_tag(cluster) in load_balancer.tags or service_named(load_balancer.name, cluster) is not None


def is_listener_of(listener: Listener, load_balancer: LoadBalancer, service_ref: ServiceRef) -> bool:
    """Whether a listener is this Service's. Early ones of the provider before us have no tags."""
    if any(tag.startswith(SERVICE_PREFIX) for tag in listener.tags):
        return service_ref.tag in listener.tags
    return load_balancer.name == service_ref.tag and made_for(load_balancer, service_ref.cluster)


def service_of(description: str, cluster: str) -> str | None:
    """`namespace/name` of the Service of this cluster that a description names, None when it names none."""
    return described_service(description, cluster) or formerly_described(description, cluster)
