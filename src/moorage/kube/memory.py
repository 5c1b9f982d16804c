"""A Kubernetes API in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from moorage.kube.port import KubeAccess, KubeNode
from moorage.model.errors import CloudUnreachable


@dataclass
class MemoryKube:
    """The port `Kube`.

    `unreachable` is why the API does not answer; `deployments` are the (namespace, name) of available ones;
    `credential` is the last clouds.yaml, `tokens` are the join tokens.
    """

    node_list: list[KubeNode] = field(default_factory=list)
    deployments: set[tuple[str, str]] = field(default_factory=set)
    unreachable: str = ""
    access_used: KubeAccess | None = None
    cloud_problem: str = ""
    credential: str = ""
    tokens: list[str] = field(default_factory=list)

    def connect(self, access: KubeAccess) -> MemoryKube:
        """As `connect_kube` of the bootstrap: returns this API, and keeps the access."""
        self.access_used = access
        return self

    def nodes(self) -> list[KubeNode]:
        self._check_reachable()
        return sorted(self.node_list, key=lambda node: node.name)

    def available(self, namespace: str, deployment: str) -> bool:
        self._check_reachable()
        return (namespace, deployment) in self.deployments

    def problem(self) -> str:
        self._check_reachable()
        return self.cloud_problem

    def update_credential(self, clouds: str) -> None:
        self._check_reachable()
        self.credential = clouds

    def create_join_token(self, token: str) -> None:
        self._check_reachable()
        self.tokens.append(token)

    def remove_node(self, name: str) -> None:
        self._check_reachable()
        self.node_list = [node for node in self.node_list if node.name != name]

    def close(self) -> None:
        """Nothing to close."""

    def _check_reachable(self) -> None:
        if self.unreachable:
            raise CloudUnreachable(self.unreachable)
