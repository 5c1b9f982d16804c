"""What Moorage needs of a cluster's Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class KubeAccess:
    """Where a Kubernetes API is and who asks; certificates and key as PEM text."""

    url: str
    ca: str
    certificate: str
    key: str


@dataclass(frozen=True)
class KubeNode:
    """`reason` is the Ready condition's own message when the node is not ready."""

    name: str
    ready: bool
    version: str = ""
    reason: str = ""


class Kube(Protocol):
    """One cluster's API, asked as its first administrator.

    Every call may raise CloudUnreachable when the API does not answer or does not accept the certificate.
    """

    def nodes(self) -> list[KubeNode]:
        """All nodes, by name."""
        ...

    def available(self, namespace: str, deployment: str) -> bool:
        """Whether the Deployment is there and has a replica available."""
        ...

    def problem(self) -> str:
        """Why the cluster cannot ask its cloud, in moorage-controller's words; "" when it can, or takes nothing."""
        ...

    def update_credential(self, clouds: str) -> None:
        """Hand the cluster a new clouds.yaml, in the place of the one that it was given before."""
        ...

    def create_join_token(self, token: str) -> None:
        """Let nodes join by this bootstrap token, too, for a day from now."""
        ...

    def remove_node(self, name: str) -> None:
        """Delete the Node of a server that is gone; nothing happens when there is none."""
        ...

    def close(self) -> None:
        """Let go of the connection; the next call makes a new one."""
        ...
