"""Convert a cluster's spec to stack parameters and back.

A cluster has a base stack of its own name, with its network and control plane, and a stack for each node group.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from hashlib import sha256
from hmac import digest
from importlib.resources import files
from typing import Any

from moorage.cloud.port.stacks import Stack, StackRequest
from moorage.model.cluster import FIXED, ClusterSpec, NodeGroup, Taint
from moorage.model.credential import Credential

CLUSTER_TAG, GROUP_TAG = "moorage-cluster", "moorage-node-group"
TOKEN_LETTERS = string.ascii_lowercase + string.digits
# The fields of a spec that are parameters of its base stack, under the same name.
RECORDED = (
    "image",
    "flavor",
    "external_network",
    "node_cidr",
    "pod_cidr",
    "service_cidr",
    "flannel_backend",
    "node_port_cidr",
    "dns_nameservers",
    "registry_mirrors",
    "cloud_provider",
)
# Those that a spec may leave open, and those of a group.
OPEN, OPEN_IN_GROUP = ("image", "flavor", "external_network"), ("image", "flavor")


def groups_tag(cluster: str) -> str:
    """The tag of the stacks of a cluster's node groups."""
    return f"moorage-groups-of-{cluster}"


def base_tag(base: Stack) -> str:
    """The tag of stacks that belong to the cluster with this base stack, and to no other one of its name."""
    return f"moorage-base-{base.id}"


def group_stack_name(cluster: str, group: str, revision: int = 1) -> str:
    """The name of a group's stack that was created as this revision. Its nodes have this name and an index."""
    return f"{cluster}-{group}-{revision}"


def creation_tag(number: int) -> str:
    """The tag of a base stack that was created for the `number`th time, because the ones before failed."""
    return f"moorage-creation-{number}"


def creations(base: Stack) -> int:
    """How often the cluster was created, by the tag of its base stack."""
    return next((number for number in range(2, 10) if creation_tag(number) in base.tags), 1)


def base_request(
    spec: ClusterSpec,
    signing_request: str,
    token: str,
    ready_timeout: int,
    credential: Credential | None = None,
    creation: int = 1,
    cloud_ca: str = "",
) -> StackRequest:
    """The request for a cluster's base stack. The spec leaves nothing open; `ready_timeout` in seconds.

    `cloud_ca` are the PEM certificates with which nodes verify the cloud's APIs; empty for Debian's.
    """
    parameters = {
        "name": spec.name,
        **{name: getattr(spec, name) for name in RECORDED},
        "dns_nameservers": ",".join(spec.dns_nameservers),
        "registry_mirrors": dict(spec.registry_mirrors),
        "client_csr": signing_request,
        "bootstrap_token": token,
        "cloud_credential": asdict(credential) if credential else {},
        **({"cloud_ca": cloud_ca} if cloud_ca else {}),
        **_timeouts(ready_timeout),
    }
    text = template("control-plane.yaml")
    tags = ("moorage", CLUSTER_TAG, creation_tag(creation))
    return StackRequest(spec.name, text, {}, parameters, tags, _minutes(ready_timeout))


def group_request(
    base: Stack, group: NodeGroup, token: str, ready_timeout: int, revision: int = 1, size: int | None = None
) -> StackRequest:
    """The request for a group's stack, with `size` nodes if not with all. `base` has its outputs.

    The group leaves nothing open.
    """
    name = group_stack_name(base.name, group.name, revision)
    parameters = {
        "name": name,
        "group": group.name,
        "count": group.count if size is None else size,
        "revision": revision,
        "desired_count": -1 if size is None else group.count,
        "max_surge": group.max_surge,
        "max_unavailable": group.max_unavailable,
        "min_count": group.min_count,
        "max_count": group.max_count,
        "image": group.image,
        "flavor": group.flavor,
        "labels": dict(group.labels),
        "taints": [asdict(taint) for taint in group.taints],
        "zones": list(group.zones),
        **base.outputs["node_group"],
        "bootstrap_token": token,
        **_timeouts(ready_timeout),
    }
    tags = ("moorage", GROUP_TAG, groups_tag(base.name), base_tag(base))
    nested = {"node.yaml": template("node.yaml")}
    return StackRequest(name, template("node-group.yaml"), nested, parameters, tags, _minutes(ready_timeout))


def recorded_spec(base: Stack, groups: Sequence[Stack]) -> ClusterSpec:
    """The spec that a cluster's stacks have."""
    values = {name: base.parameters.get(name) for name in RECORDED}
    return ClusterSpec(
        base.name,
        groups=tuple(recorded_group(stack) for stack in groups),
        **{name: _text(value) for name, value in values.items()} | _collections(values),
    )


def _collections(values: Mapping[str, Any]) -> dict[str, Any]:
    servers = _parsed(values["dns_nameservers"]) or ()
    return {
        "dns_nameservers": tuple(servers.split(",")) if isinstance(servers, str) else tuple(servers),
        "registry_mirrors": _parsed(values["registry_mirrors"]) or {},
    }


def revision(stack: Stack) -> int:
    """A group's revision; the stack with the highest one is the current one."""
    return int(stack.parameters["revision"])


def is_rolled_back(stack: Stack) -> bool:
    """Whether a group's stack was made the current one again: its name has the number that it was created with."""
    return not stack.name.endswith(f"-{revision(stack)}")


def size(stack: Stack) -> int:
    """The number of nodes that a stack has; the group may have others in other revisions."""
    return int(stack.parameters.get("count", 1))


def recorded_values(stack: Stack) -> dict[str, int]:
    """What a group's stack records, and what may change without a change of its nodes."""
    return {name: int(stack.parameters[name]) for name in ("desired_count", "max_surge", "max_unavailable")}


def recorded_group(stack: Stack) -> NodeGroup:
    """The group that a stack records, with its number of nodes in all revisions."""
    given = {name: _parsed(value) for name, value in stack.parameters.items()}
    desired = recorded_values(stack)["desired_count"]
    return NodeGroup(
        name=str(given["group"]),
        count=size(stack) if desired < 0 else desired,
        flavor=str(given["flavor"]),
        image=str(given["image"]),
        labels=dict(given["labels"] or {}),
        taints=tuple(Taint(**taint) for taint in given["taints"] or ()),
        zones=tuple(given["zones"] or ()),
        min_count=int(given["min_count"]),
        max_count=int(given["max_count"]),
        max_surge=int(given["max_surge"]),
        max_unavailable=int(given["max_unavailable"]),
    )


def requested_removals(stack: Stack) -> set[str]:
    """The names of the nodes that the group's stack was last requested to remove."""
    return {f"{stack.name}-{index}" for index in _parsed(stack.parameters.get("remove")) or ()}


def needs_revision(group: NodeGroup, there: NodeGroup) -> bool:
    """Whether a group cannot have these values without other nodes; what it leaves open matches anything."""
    return any(_different_fields(group, there, FIXED, OPEN_IN_GROUP, ""))


def with_surge_of(group: NodeGroup, there: NodeGroup) -> NodeGroup:
    """The group with the surge of the existing one, which only an upgrade changes."""
    return replace(group, max_surge=there.max_surge, max_unavailable=there.max_unavailable)


def differences(spec: ClusterSpec, there: ClusterSpec) -> list[str]:
    """Differences between a spec and a recorded one, as in "count of workers 2, not 3".

    What the spec leaves open matches anything, and so do groups that it does not have. An upgrade may change the surge.
    """
    found = [*_different_fields(spec, there, RECORDED, OPEN, "")]
    names = [it.name for it in fields(NodeGroup) if it.name not in ("name", "max_surge", "max_unavailable")]
    for group in spec.groups:
        if (other := there.group(group.name)) is not None:
            found += _different_fields(group, other, names, OPEN_IN_GROUP, f" of {group.name}")
    return found


def _different_fields(asked: Any, there: Any, names: Sequence[str], open: Sequence[str], of: str) -> Iterator[str]:
    for name in names:
        one, other = getattr(asked, name), getattr(there, name)
        if one != other and (one or name not in open):
            yield f"{name}{of} {_shown(other)}, not {_shown(one)}"


def template(name: str) -> str:
    """The text of a HOT file."""
    return (files("moorage.clusters") / "templates" / name).read_text()


def join_token() -> str:
    """A new token in Kubernetes' format, `[a-z0-9]{6}.[a-z0-9]{16}`."""
    return _token(secrets.choice(TOKEN_LETTERS) for _ in range(22))


def first_join_token(key: str, cluster: str) -> str:
    """The first token of a cluster, computed from the client's private key, so that it is the same in every run.

    So a run can create groups of a cluster that another run began, before the cluster's API answers.
    """
    number = int.from_bytes(digest(key.encode(), f"first join token of {cluster}".encode(), sha256))
    return _token(TOKEN_LETTERS[number // len(TOKEN_LETTERS) ** place % len(TOKEN_LETTERS)] for place in range(22))


def _token(letters: Iterator[str]) -> str:
    text = "".join(letters)
    return f"{text[:6]}.{text[6:]}"


def _timeouts(ready_timeout: int) -> dict[str, int]:
    return {"ready_timeout": ready_timeout, "signal_timeout": ready_timeout + 120}


def _minutes(ready_timeout: int) -> int:
    return -(-(ready_timeout + 600) // 60)


def _parsed(value: Any) -> Any:
    """A parameter's value: Heat returns lists and maps as text."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(dict(value)) if value else "(none)"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value) or "(none)"
    return str(value) if value not in ("", None) else "(none)"
