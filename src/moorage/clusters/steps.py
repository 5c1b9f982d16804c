"""The steps that a plan may return, and how often they were tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moorage.cloud.port.servers import Server
from moorage.cloud.port.stacks import Stack, StackResource
from moorage.model.cluster import NodeGroup


@dataclass(frozen=True)
class CreateBase:
    """Create the client's private key if this machine has none, and request the base stack from Heat."""


@dataclass(frozen=True)
class CreateGroup:
    """Request a node group's stack; with a `new_token` once the control plane has been Ready.

    Beside other revisions it begins with `size` nodes.
    """

    group: NodeGroup
    new_token: bool
    revision: int
    size: int | None = None


@dataclass(frozen=True)
class DeleteInfrastructure:
    """Delete the stacks, and all infrastructure of the cluster, then create it for the `creation`th time.

    `reason` is a message for the user.
    """

    stack: Stack | None
    reason: str
    creation: int = 1


@dataclass(frozen=True)
class DeleteStack:
    """Delete a group's stack again, because its deletion failed."""

    stack: Stack
    reason: str


@dataclass(frozen=True)
class DeleteServers:
    """Delete servers that Heat does not know, because they have the ports that others need."""

    servers: Sequence[Server]


@dataclass(frozen=True)
class UpdateStack:
    """Update the stack without changes, so that Heat resumes it and retries what failed."""

    stack: Stack
    reason: str
    repairs: bool = False


@dataclass(frozen=True)
class ReplaceNodes:
    """Make Heat create new nodes in place of those of these servers."""

    stack: Stack
    servers: Sequence[StackResource]
    reason: str
    new_token: bool
    repairs: bool = False


@dataclass(frozen=True)
class AddNodes:
    """Make Heat create more nodes in a group's stack, up to `size`, and record values that have changed."""

    stack: Stack
    group: NodeGroup
    size: int
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordValues:
    """Record values of a group in its stack that its nodes do not depend on."""

    stack: Stack
    values: Mapping[str, int]


@dataclass(frozen=True)
class MakeCurrent:
    """Make a former revision of a group the current one, under the next number."""

    stack: Stack
    group: NodeGroup
    revision: int


@dataclass(frozen=True)
class RemoveNodes:
    """Drain these Nodes, then make Heat delete the servers with these ids and those that are `lost`.

    The stack has `size` nodes afterwards, for some of which a `new_token` is needed; without a size Heat deletes the
    whole stack. `values` are recorded with that. A server that never joined has no Node.
    """

    stack: Stack
    servers: Sequence[str]
    nodes: Sequence[str]
    lost: Sequence[StackResource] = ()
    size: int | None = None
    new_token: bool = False
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DeleteNodes:
    """Delete Nodes that were drained, and of which the servers are deleted, with the pods that they still have."""

    nodes: Sequence[str]


@dataclass(frozen=True)
class CancelRemoval:
    """Uncordon Nodes that a former run wanted to remove."""

    nodes: Sequence[str]


@dataclass(frozen=True)
class RecordGroups:
    """Record the labels and taints of node groups' stacks in Kubernetes."""

    groups: Mapping[str, str]


@dataclass(frozen=True)
class Wait:
    """Nothing to do but observe again soon."""

    reason: str


@dataclass(frozen=True)
class Fail:
    """It failed, and a retry would not help; `used` is whether the cluster was ready before."""

    reason: str
    used: bool = False


@dataclass(frozen=True)
class Done:
    """The observed state is the desired one; `note` says what could not be checked."""

    note: str = ""


Repair = DeleteInfrastructure | DeleteStack | UpdateStack
NodeStep = (
    DeleteServers
    | ReplaceNodes
    | AddNodes
    | RecordValues
    | MakeCurrent
    | RemoveNodes
    | DeleteNodes
    | CancelRemoval
    | RecordGroups
)
Step = CreateBase | CreateGroup | Repair | NodeStep | Wait | Fail | Done


MAX_ATTEMPTS = 3  # creations of the cluster, and replacements of missing nodes, before the plan fails


@dataclass(frozen=True)
class Attempts:
    """What was attempted for the last request, to bound retries: creations of the cluster and, by the stack's name,
    updates of a failed stack and replacements of nodes that were lost in a complete one.
    """

    creations: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    replacements: Counter[str] = field(default_factory=Counter)

    def __or__(self, other: Attempts) -> Attempts:
        """Of each count the larger one."""
        creations = max(self.creations, other.creations)
        return Attempts(creations, self.repairs | other.repairs, self.replacements | other.replacements)
