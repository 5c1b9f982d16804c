"""What a controller needs of the Kubernetes API: any kind of object, as plain JSON, and its changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of object: `version` is as in apiVersion ("v1", "apps/v1"), `plural` as in the API's paths.

    An `optional` one is not Kubernetes' own: the API knows it only once somebody has defined it.
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
LEASES = Resource("coordination.k8s.io/v1", "leases", "Lease")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
PERSISTENT_VOLUMES = Resource("v1", "persistentvolumes", "PersistentVolume", namespaced=False)
STORAGE_CLASSES = Resource("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False)
SNAPSHOT_CONTENTS = Resource(
    "snapshot.storage.k8s.io/v1", "volumesnapshotcontents", "VolumeSnapshotContent", namespaced=False, optional=True
)

SYSTEM: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
"""What Events are about that concern the whole cluster."""


@dataclass(frozen=True)
class ResourceList:
    """All objects of a resource, and the version from which a watch goes on."""

    items: tuple[Object, ...]
    version: str


@dataclass(frozen=True)
class Change:
    """What happened to an object. A BOOKMARK's object has nothing but a resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


def key_of(found: Mapping[str, Any]) -> str:
    """`namespace/name`, or `name` for what belongs to the whole cluster."""
    metadata = found["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def path_of(resource: Resource, key: str = "") -> str:
    """The API's path of one object, or of all of them when `key` is empty."""
    root = f"/api/{resource.version}" if "/" not in resource.version else f"/apis/{resource.version}"
    namespace, _, name = key.rpartition("/")
    within = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    return f"{root}{within}/{resource.plural}" + (f"/{name}" if name else "")


class KubernetesClient(Protocol):
    """One cluster's API. Objects are keyed as `key_of` says and belong to the caller.

    Every call may raise CloudUnreachable (no answer in time, or not let in: try again) and BadInput (the API finds
    the request wrong: trying again does not help).
    """

    def list(self, resource: Resource, field: str = "") -> ResourceList:
        """All objects of the resource in all namespaces; NotFound when the API does not know the resource.

        `field` is a field selector of one equation, as in "spec.nodeName=a", on a field that the API can select by.
        """
        ...

    def watch(self, resource: Resource, version: str, seconds: int) -> Iterator[Change]:
        """Changes after that version as they come; ends by itself after `seconds`.

        NotFound when the API no longer holds that version: list again.
        """
        ...

    def get(self, resource: Resource, key: str) -> Object | None:
        """The object, None when it is not there."""
        ...

    def create(self, resource: Resource, wanted: Object) -> Object:
        """Make it; Conflict when it is there already."""
        ...

    def replace(self, resource: Resource, wanted: Object) -> Object:
        """Put it in the place of the old one. NotFound when gone; Conflict when its resourceVersion is stale."""
        ...

    def patch(self, resource: Resource, key: str, change: Mapping[str, Any], *, status: bool = False) -> Object:
        """Merge by RFC 7386 (lists are replaced whole, null takes away); with `status`, of the status only.

        NotFound when gone; Conflict when the change names a resourceVersion that is stale.
        """
        ...

    def delete(self, resource: Resource, key: str, uid: str = "", *, at_once: bool = False) -> None:
        """Ask for its end; finalizers may keep it. Nothing happens when it is gone.

        A pod ends when its kubelet has said so or, `at_once`, without that word: for a kubelet that is no more.

        Conflict when `uid` is given and another object has taken the name.
        """
        ...
