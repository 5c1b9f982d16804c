"""The Kubernetes client of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class KubeAccess:
    """The URL of a Kubernetes API and a client's credentials; certificates and key as PEM."""

    url: str
    ca: str
    certificate: str
    key: str


@dataclass(frozen=True)
class KubeNode:
    """`reason` is the message of the Ready condition when the node is not ready."""

    name: str
    ready: bool
    version: str = ""
    reason: str = ""


class Kube(Protocol):
    """The API of one cluster, called as its administrator.

    Every call may raise CloudUnreachable when the API does not answer or does not accept the certificate.
    """

    def nodes(self) -> list[KubeNode]:
        """All nodes, by name."""
        ...

    def available(self, namespace: str, deployment: str) -> bool:
        """Whether the Deployment exists and has an available replica."""
        ...

    def problem(self) -> str:
        """Why the cluster cannot reach its cloud, as moorage-controller reports it; "" when it can, or need not."""
        ...

    def update_credential(self, clouds: str) -> None:
        """Replace the cluster's clouds.yaml."""
        ...

    def create_join_token(self, token: str) -> None:
        """Create another bootstrap token, valid for a day."""
        ...

    def remove_node(self, name: str) -> None:
        """Delete the Node of a deleted server; does nothing when it does not exist."""
        ...

    def close(self) -> None:
        """Close the connection; the next call connects again."""
        ...
