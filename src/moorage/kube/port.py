"""The port for Kubernetes: any kind of object as plain JSON, and watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of object: `version` as in apiVersion ("v1", "apps/v1"), `plural` as in the API's paths.

    An `optional` one is a custom resource: the API knows it only once it is defined.
    """

    version: str
    plural: str
    kind: str
    namespaced: bool = True
    optional: bool = False


NODES = Resource("v1", "nodes", "Node", namespaced=False)
SERVICES = Resource("v1", "services", "Service")
EVENTS = Resource("v1", "events", "Event")
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
SECRETS = Resource("v1", "secrets", "Secret")
PODS = Resource("v1", "pods", "Pod")
DEPLOYMENTS = Resource("apps/v1", "deployments", "Deployment")
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
PERSISTENT_VOLUME_CLAIMS = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
PERSISTENT_VOLUMES = Resource("v1", "persistentvolumes", "PersistentVolume", namespaced=False)
VOLUME_ATTACHMENTS = Resource("storage.k8s.io/v1", "volumeattachments", "VolumeAttachment", namespaced=False)
STORAGE_CLASSES = Resource("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False)
SNAPSHOT_CONTENTS = Resource(
    "snapshot.storage.k8s.io/v1", "volumesnapshotcontents", "VolumeSnapshotContent", namespaced=False, optional=True
)

SIGNING_REQUESTS = Resource(
    "certificates.k8s.io/v1", "certificatesigningrequests", "CertificateSigningRequest", namespaced=False
)

SYSTEM: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
"""The object of Events that concern the whole cluster."""


@dataclass(frozen=True)
class ResourceList:
    """All objects of a resource, and the resource version at which a watch resumes."""

    items: tuple[Object, ...]
    version: str


@dataclass(frozen=True)
class Change:
    """A change of an object. A BOOKMARK's object has a resourceVersion only."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


def key_of(obj: Mapping[str, Any]) -> str:
    """`namespace/name`, or `name` for cluster-scoped objects."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def path_of(resource: Resource, key: str = "") -> str:
    """The API path of one object, or of all objects when `key` is empty."""
    root = f"/api/{resource.version}" if "/" not in resource.version else f"/apis/{resource.version}"
    namespace, _, name = key.rpartition("/")
    within = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    return f"{root}{within}/{resource.plural}" + (f"/{name}" if name else "")


class KubernetesClient(Protocol):
    """The API of one cluster. Objects have keys as `key_of` returns them; callers may modify objects that they get.

    Every call may raise KubernetesUnreachable (no response in time, or not authorized: try again) and BadInput (the API
    rejects the request: a retry does not help).
    """

    def list(self, resource: Resource, field: str = "") -> ResourceList:
        """All objects of the resource in all namespaces; NotFound when the API does not know the resource.

        `field` is a field selector such as "spec.nodeName=a", on a field that the API can select by.
        """
        ...

    def watch(self, resource: Resource, version: str, seconds: int) -> Iterator[Change]:
        """Changes after that version as they arrive; ends after `seconds`.

        Expired when the API no longer has that version: list again.
        """
        ...

    def get(self, resource: Resource, key: str) -> Object | None:
        """The object, None when it does not exist."""
        ...

    def create(self, resource: Resource, desired: Object) -> Object:
        """Create the object; Conflict when it exists."""
        ...

    def replace(self, resource: Resource, desired: Object, subresource: str = "") -> Object:
        """Replace the object. NotFound when it does not exist; Conflict when its resourceVersion is stale.

        With the `subresource` "approval" of a signing request, replace its conditions only.
        """
        ...

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        """Merge by RFC 7386 (lists are replaced, null removes a field); with `status`, patch the status only.

        NotFound when the object does not exist; Conflict when the change has a stale resourceVersion.
        """
        ...

    def delete(self, resource: Resource, key: str, uid: str = "", *, at_once: bool = False) -> None:
        """Delete the object; finalizers may delay that. Does nothing when it does not exist.

        A pod is deleted when its kubelet has stopped it or, with `at_once`, without its kubelet: for a node that no
        longer exists.

        Conflict when `uid` is given and another object has that name.
        """
        ...

    def last_log_line(self, pod: str) -> str:
        """The last line that a pod's container logged; "" without any, or without the pod."""
        ...

    def evict(self, pod: str) -> None:
        """Request a pod's eviction by the Eviction API; does nothing when the pod does not exist.

        Conflict with the reason while a disruption budget, or anything else, does not allow it.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
