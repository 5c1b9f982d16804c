"""Observe one cluster: its stacks, its key on this machine, its Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from moorage.cloud.port.cloud import Cloud
from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters import explain, keys, kubernetes
from moorage.clusters.explain import SERVER
from moorage.clusters.keys import KeyStore
from moorage.clusters.kubernetes import node_name
from moorage.clusters.parameters import CLUSTER_TAG, base_tag, groups_tag, size
from moorage.clusters.state import Kubernetes, Observed, ObservedStack
from moorage.kube.kubeconfig import KubeAccess
from moorage.kube.port import KubernetesClient
from moorage.model.cluster import CONTROL_PLANE
from moorage.model.errors import Conflict, KubernetesUnreachable
from moorage.model.nodes import stack_of

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
    _group_stacks: dict[tuple[str, str], Stack] = field(default_factory=dict, init=False)
    """Stacks of node groups with their parameters, by id and time of the last update."""

    def observe(self, *, kubernetes: bool = True) -> Observed:
        """Observe once.

        Nova is asked about complete stacks, since Kubernetes may report a node as Ready for most of a minute after its
        server was deleted; Heat is asked about their resources only when servers are missing.

        CloudUnreachable when OpenStack does not answer; an unreachable Kubernetes API is part of the result.
        """
        base = self.base()
        stacks = self.group_stacks(base)
        if base is None:
            return Observed(None, [ObservedStack(stack) for stack in stacks], self.keys.key(self.name) is not None)
        settled = any(stack.status.endswith(("_COMPLETE", "_FAILED")) for stack in (base, *stacks))
        servers = self.cloud.servers.list(self.name) if settled and kubernetes else []
        first, *groups = [self._observe_stack(stack, servers, kubernetes) for stack in (base, *stacks)]
        key = self.has_key(base)
        ask = kubernetes and key and _has_certificates(base, first.resources)
        return Observed(first, groups, key, self._ask(base) if ask else None, tuple(servers))

    def base(self) -> Stack | None:
        """The cluster's base stack; Conflict when a stack of its name is not a cluster's."""
        stack = self.cloud.stacks.get(self.name)
        if stack is not None and CLUSTER_TAG not in stack.tags:
            raise Conflict(
                f"the Heat stack {self.name!r} is not a cluster of Moorage (it lacks the tag {CLUSTER_TAG})",
                "choose another name; moorage does not change that stack",
            )
        return stack

    def group_stacks(self, base: Stack | None) -> list[Stack]:
        """The stacks of its node groups, by name; without a base stack, what is left of a deleted cluster's."""
        listed = self.cloud.stacks.list(groups_tag(self.name))
        own = [stack for stack in listed if base is None or base_tag(base) in stack.tags]
        found = [stack for stack in map(self._with_parameters, own) if stack is not None]
        return sorted(found, key=lambda stack: stack.name)

    def _with_parameters(self, listed: Stack) -> Stack | None:
        """None when it was deleted meanwhile."""
        version = (listed.id, listed.updated_at)
        if version not in self._group_stacks:
            if (full := self.cloud.stacks.get(listed.id)) is None:
                return None
            self._group_stacks[version] = full
        return replace(listed, parameters=self._group_stacks[version].parameters)

    def _observe_stack(self, stack: Stack, servers: list[Server], nova: bool) -> ObservedStack:
        """Adds to `servers` those that it finds only by their ids."""
        complete = stack.status.endswith("_COMPLETE")
        resources = () if complete else tuple(self.cloud.stacks.resources(stack))
        if not nova or not stack.status.endswith(("_COMPLETE", "_FAILED")):
            return ObservedStack(stack, resources)
        own = [server for server in servers if _is_of(server, stack)]
        if complete and len(own) < size(stack):
            resources = tuple(self.cloud.stacks.resources(stack))
        renamed = missing_from(self.cloud, servers, resources)
        servers += renamed
        own += renamed
        lost = tuple(explain.lost_servers(resources, own))
        untracked = tuple(explain.untracked_servers(resources, own, stack.name)) if lost else ()
        return ObservedStack(stack, resources, lost=lost, untracked=untracked)

    def access(self, stack: Stack) -> KubeAccess | None:
        """Access to the cluster's API with this machine's key; None until the base stack has the certificates."""
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

    def has_key(self, stack: Stack) -> bool:
        """Whether this machine has the client's key of the cluster with this base stack."""
        key, request = self.keys.key(self.name), stack.parameters.get("client_csr")
        return bool(key and request and keys.matches(key, str(request)))

    def _ask(self, stack: Stack) -> Kubernetes:
        kube = self.kube(stack)
        if kube is None:
            return Kubernetes(unreachable="the control plane has not published its certificates")
        try:
            nodes, dns = kubernetes.nodes(kube), kubernetes.is_available(kube, DNS)
            groups = kubernetes.recorded_groups(kube)
            return Kubernetes(nodes, dns, problem=kubernetes.problem(kube), groups=groups)
        except KubernetesUnreachable as error:
            return Kubernetes(unreachable=error.message)


def _is_of(server: Server, stack: Stack) -> bool:
    """Whether the server is one of the stack's nodes; users rename servers."""
    if "group" in stack.parameters:
        return stack_of(node_name(server)) == stack.name
    return server.metadata.get("moorage_group") == CONTROL_PLANE


def missing_from(cloud: Cloud, servers: Sequence[Server], resources: Sequence[StackResource]) -> list[Server]:
    """The stack's servers that the list lacks but that exist: a user may have renamed them."""
    listed = {server.id for server in servers}
    ids = [resource.physical_id for resource in explain.existing_resources(resources) if resource.type == SERVER]
    others = (cloud.servers.get(id) for id in ids if id not in listed)
    return [server for server in others if server is not None]


def _has_certificates(stack: Stack, resources: Sequence[StackResource]) -> bool:
    """Whether the control plane has signaled that it is Ready. Its certificates came with that signal."""
    if stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_FAILED"):
        return True
    return stack.status.startswith("CREATE") and explain.control_plane_was_ready(resources)
