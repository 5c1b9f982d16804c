"""What a cluster's Kubernetes API is asked for and given from outside, as its administrator."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from moorage.cloud.port.servers import Server
from moorage.kube.merge import apply
from moorage.kube.port import CONFIG_MAPS, DEPLOYMENTS, NODES, SECRETS, KubernetesClient, Object
from moorage.model import join_token
from moorage.model.cluster import NodeGroup
from moorage.model.credential import SECRET, STATE
from moorage.model.nodes import GROUP_LABEL, GROUPS, REMOVING, UNINITIALIZED
from moorage.model.ownership import NODE_MARK


@dataclass(frozen=True)
class KubeNode:
    """A Node; `reason` is why it is not ready. `server` is the id of its server, empty when it has none yet.

    `group` is its node group, or "control-plane". `removing` is whether its removal has begun, by the mark that
    `drain.begin` sets.
    """

    name: str
    ready: bool
    version: str = ""
    reason: str = ""
    server: str = ""
    group: str = ""
    removing: bool = False


def nodes(api: KubernetesClient) -> list[KubeNode]:
    """All nodes, by name."""
    return sorted((_node(node) for node in api.list(NODES).items), key=lambda node: node.name)


def node_of(server: Server, nodes: Sequence[KubeNode]) -> KubeNode | None:
    """The server's Node: by its id; by name as long as the Node has no server."""
    name = node_name(server)
    return next((node for node in nodes if node.server == server.id or (node.server == "" and node.name == name)), None)


def node_name(server: Server) -> str:
    """The name of the server's Node; users rename servers, and a server that Heat did not create has no record."""
    return server.metadata.get(NODE_MARK, server.name)


def is_available(api: KubernetesClient, deployment: str) -> bool:
    """Whether the Deployment `namespace/name` exists and has an available replica."""
    found = api.get(DEPLOYMENTS, deployment) or {}
    return bool(found.get("status", {}).get("availableReplicas"))


def problem(api: KubernetesClient) -> str:
    """Why the cluster cannot reach its cloud, as moorage-controller reports it; "" when it can, or need not."""
    state = api.get(CONFIG_MAPS, STATE) or {}
    return str((state.get("data") or {}).get("problem", ""))


def recorded_groups(api: KubernetesClient) -> Mapping[str, str]:
    """What `record_groups` recorded."""
    found = api.get(CONFIG_MAPS, GROUPS) or {}
    return dict(found.get("data") or {})


def record_groups(api: KubernetesClient, groups: Mapping[str, str]) -> None:
    """Record the labels and taints of groups' stacks, by name, which moorage-controller keeps on their Nodes."""
    namespace, _, name = GROUPS.partition("/")
    removed = dict.fromkeys(recorded_groups(api).keys() - groups.keys())
    apply(api, CONFIG_MAPS, {"metadata": {"namespace": namespace, "name": name}, "data": {**removed, **groups}})


def group_record(group: NodeGroup) -> str:
    """A group's labels and taints, as they are recorded."""
    return json.dumps({"labels": dict(group.labels), "taints": [asdict(taint) for taint in group.taints]})


def update_credential(api: KubernetesClient, clouds: str) -> None:
    """Replace the cluster's clouds.yaml."""
    namespace, _, name = SECRET.partition("/")
    _apply_secret(api, {"metadata": {"namespace": namespace, "name": name}, "stringData": {"clouds.yaml": clouds}})


def create_join_token(api: KubernetesClient, token: str) -> None:
    """Create another bootstrap token, valid for a day."""
    _apply_secret(api, join_token.secret(token, datetime.now(UTC)))


def _apply_secret(api: KubernetesClient, secret: Mapping[str, Any]) -> None:
    data = {name: b64encode(text.encode()).decode() for name, text in secret["stringData"].items()}
    apply(api, SECRETS, {**{key: value for key, value in secret.items() if key != "stringData"}, "data": data})


def _node(node: Object) -> KubeNode:
    status = node.get("status", {})
    condition = next((found for found in status.get("conditions") or () if found["type"] == "Ready"), None)
    reason = _unready_reason(condition)
    spec = node.get("spec", {})
    if not reason and any(taint["key"] == UNINITIALIZED for taint in spec.get("taints") or ()):
        reason = "moorage-controller has not initialized it yet"
    version = status.get("nodeInfo", {}).get("kubeletVersion", "")
    server = str(spec.get("providerID") or "").rpartition("/")[2]
    metadata = node["metadata"]
    group = (metadata.get("labels") or {}).get(GROUP_LABEL, "")
    removing = REMOVING in (metadata.get("annotations") or {})
    return KubeNode(metadata["name"], not reason, version, reason, server, group, removing)


def _unready_reason(condition: Mapping[str, Any] | None) -> str:
    """Why a node with this Ready condition is not ready; "" when it is."""
    if condition is None:
        return "its kubelet has not reported yet"
    if condition["status"] == "True":
        return ""
    return condition.get("message") or condition.get("reason") or "its kubelet gave no reason"
