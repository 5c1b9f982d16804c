"""Observe one cluster: its stack, its key on this machine, its Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import explain, keys, kubernetes
from moorage.clusters.explain import SERVER
from moorage.clusters.keys import KeyStore
from moorage.clusters.parameters import CLUSTER_TAG, node_count
from moorage.clusters.plan import Kubernetes, Observed
from moorage.kube.kubeconfig import KubeAccess
from moorage.kube.port import KubernetesClient
from moorage.model.errors import Conflict, KubernetesUnreachable

ConnectKube = Callable[[KubeAccess], KubernetesClient]
DNS = "kube-system/coredns"


@dataclass
class Observer:
    """Observes a cluster repeatedly over one connection to its Kubernetes API."""

    cloud: Cloud
    connect_kube: ConnectKube
    keys: KeyStore
    name: str
    _kube: KubernetesClient | None = field(default=None, init=False)
    _made_for: str = field(default="", init=False)

    def observe(self, *, kubernetes: bool = True) -> Observed:
        """Observe once.

        Nova is asked about a complete stack, since Kubernetes may report a node as Ready for most of a minute after its
        server was deleted; Heat is asked about its resources only when servers are missing.

        CloudUnreachable when OpenStack does not answer; an unreachable Kubernetes API is part of the result.
        """
        stack = self.cloud.stacks.get(self.name)
        if stack is None:
            return Observed(None, key=self.keys.key(self.name) is not None)
        if CLUSTER_TAG not in stack.tags:
            raise Conflict(
                f"the Heat stack {self.name!r} is not a cluster of Moorage (it lacks the tag {CLUSTER_TAG})",
                "choose another name; moorage does not change that stack",
            )
        complete = stack.status.endswith("_COMPLETE")
        resources = () if complete else tuple(self.cloud.stacks.resources(stack))
        key = self._has_key(stack)
        ask = kubernetes and key and _has_certificates(stack, resources)
        asked = self._ask(stack) if ask else None
        if not kubernetes or not stack.status.endswith(("_COMPLETE", "_FAILED")):
            return Observed(stack, resources, key, asked)
        servers = self.cloud.servers.list(self.name)
        if complete and len(servers) < node_count(stack):
            resources = tuple(self.cloud.stacks.resources(stack))
        servers = with_renamed(self.cloud, servers, resources)
        lost = tuple(explain.lost_servers(resources, servers))
        untracked = tuple(explain.untracked_servers(resources, servers, self.name)) if lost else ()
        return Observed(stack, resources, key, asked, servers=tuple(servers), lost=lost, untracked=untracked)

    def access(self, stack: Stack) -> KubeAccess | None:
        """Access to the cluster's API with this machine's key; None until the stack has the certificates."""
        key = self.keys.key(self.name)
        full = self.cloud.stacks.get(stack.id, outputs=True)
        outputs = full.outputs if full else {}
        if not (key and outputs.get("ca_certificate") and outputs.get("client_certificate")):
            return None
        return KubeAccess(
            str(outputs["api_url"]), str(outputs["ca_certificate"]), str(outputs["client_certificate"]), key
        )

    def kube(self, stack: Stack) -> KubernetesClient | None:
        """A client for the cluster's API with this machine's key; None as for `access`."""
        if self._kube is None or self._made_for != stack.id:
            access = self.access(stack)
            if access is None:
                return None
            self.close()
            self._kube, self._made_for = self.connect_kube(access), stack.id
        return self._kube

    def close(self) -> None:
        if self._kube is not None:
            self._kube.close()
            self._kube = None

    def _has_key(self, stack: Stack) -> bool:
        key, request = self.keys.key(self.name), stack.parameters.get("client_csr")
        return bool(key and request and keys.matches(key, str(request)))

    def _ask(self, stack: Stack) -> Kubernetes:
        kube = self.kube(stack)
        if kube is None:
            return Kubernetes(unreachable="the control plane has not published its certificates")
        try:
            nodes, dns = kubernetes.nodes(kube), kubernetes.is_available(kube, DNS)
            return Kubernetes(nodes, dns, problem=kubernetes.problem(kube))
        except KubernetesUnreachable as error:
            return Kubernetes(unreachable=error.message)


def with_renamed(cloud: Cloud, servers: Sequence[Server], resources: Sequence[StackResource]) -> list[Server]:
    """These servers, and those of the stack that the list lacks but that exist: a user may have renamed them."""
    listed = {server.id for server in servers}
    ids = [resource.physical_id for resource in explain.existing_resources(resources) if resource.type == SERVER]
    others = (cloud.servers.get(id) for id in ids if id not in listed)
    return [*servers, *(server for server in others if server is not None)]


def _has_certificates(stack: Stack, resources: tuple[StackResource, ...]) -> bool:
    """Whether the control plane has signaled that it is Ready. Its certificates came with that signal."""
    if stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_FAILED"):
        return True
    return stack.status.startswith("CREATE") and explain.control_plane_was_ready(resources)
