"""The observed state of a cluster: its stacks, servers and Nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.clusters.kubernetes import KubeNode
from moorage.clusters.parameters import recorded_group, recorded_spec, revision, size
from moorage.clusters.progress import Unchanged
from moorage.model.cluster import CONTROL_PLANE, ClusterSpec
from moorage.model.nodes import stack_of


@dataclass(frozen=True)
class Kubernetes:
    """The state that the cluster's Kubernetes API reports.

    `unreachable` is why the API could not be asked, `problem` why the cluster cannot reach its cloud; else empty.
    `groups` are the records of node groups' labels and taints.
    """

    nodes: Sequence[KubeNode] = ()
    dns: bool = False
    unreachable: str = ""
    problem: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservedStack:
    """The observed state of one stack of a cluster.

    `resources` are empty for a stack that is complete and has all its servers. `unchanged` is for how long the stack
    has not changed. `lost` are the stack's servers that Nova does not have or that are incomplete in a failed stack,
    `untracked` servers in Nova that are in the place of those and that Heat does not know.
    """

    stack: Stack
    resources: Sequence[StackResource] = ()
    unchanged: Unchanged = field(default_factory=Unchanged)
    lost: Sequence[StackResource] = ()
    untracked: Sequence[Server] = ()

    @property
    def group(self) -> str:
        """The name of the node group; of the base stack, the control plane's."""
        return str(self.stack.parameters.get("group", CONTROL_PLANE))

    @property
    def action(self) -> str:
        """Heat's: CREATE, UPDATE or DELETE."""
        return self.stack.status.partition("_")[0]

    @property
    def state(self) -> str:
        """Heat's: IN_PROGRESS, COMPLETE or FAILED."""
        return self.stack.status.partition("_")[2]


@dataclass(frozen=True)
class DesiredState:
    """What a run is to reach. Node groups that `spec` does not have are left alone, but for those that are `deleted`.

    `named` are Nodes to remove before others; where the count stays, others are created in their place. `current` are
    the stacks of former revisions that are to be groups' current ones again. `creates` is whether the cluster may be
    created, and created again if it was never ready.
    """

    spec: ClusterSpec
    deleted: Collection[str] = ()
    named: Collection[str] = ()
    current: Mapping[str, str] = field(default_factory=dict)
    creates: bool = False


@dataclass(frozen=True)
class Observed:
    """The observed state of a cluster: its base stack and those of its node groups, by name.

    Without a base stack, the groups are what is left of a deleted cluster. `key` is whether this machine has the
    client's key for this cluster. `kubernetes` is None when it was not asked. `servers` are Nova's, empty as long as
    Heat creates all stacks.
    """

    base: ObservedStack | None
    groups: Sequence[ObservedStack] = ()
    key: bool = False
    kubernetes: Kubernetes | None = None
    servers: Sequence[Server] = ()

    @property
    def base_stack(self) -> Stack:
        """The base stack, of which there must be one."""
        assert self.base is not None
        return self.base.stack

    @property
    def spec(self) -> ClusterSpec:
        """The spec that the stacks have; there must be a base stack."""
        names = {entry.group: None for entry in self.groups if entry.action != "DELETE"}
        current = (self.group(name) for name in names)
        return recorded_spec(self.base_stack, [entry.stack for entry in current if entry])

    @property
    def resources(self) -> list[StackResource]:
        stacks = [self.base, *self.groups] if self.base else self.groups
        return [resource for entry in stacks for resource in entry.resources]

    @property
    def nodes(self) -> Sequence[KubeNode]:
        """The Nodes; empty when Kubernetes was not asked."""
        return self.kubernetes.nodes if self.kubernetes else ()

    @property
    def reachable(self) -> bool:
        """Whether Kubernetes answered."""
        return self.kubernetes is not None and not self.kubernetes.unreachable

    def group(self, name: str) -> ObservedStack | None:
        """The stack of a group's current revision; one that is being deleted only if there is no other one."""
        own = (entry for entry in self.groups if entry.group == name)
        return max(own, key=lambda entry: (entry.action != "DELETE", revision(entry.stack)), default=None)

    def former(self, name: str) -> list[ObservedStack]:
        """The stacks of a group's other revisions, from the newest on."""
        current = self.group(name)
        own = (entry for entry in self.groups if entry.group == name and entry is not current)
        return sorted(own, key=lambda entry: -revision(entry.stack))

    def is_upgrading(self, name: str) -> bool:
        """Whether a group has nodes of several revisions, or not all of the current one yet."""
        entry = self.group(name)
        return bool(self.former(name)) or (entry is not None and recorded_group(entry.stack).count != size(entry.stack))

    def nodes_of(self, stack: str) -> list[KubeNode]:
        """The Nodes of a group's stack."""
        return [node for node in self.nodes if stack_of(node.name) == stack]
