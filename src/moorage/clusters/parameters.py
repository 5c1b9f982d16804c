"""Convert a cluster's spec to stack parameters and back."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from moorage.cloud.port.stacks import Stack, StackRequest
from moorage.model.cluster import ClusterSpec
from moorage.model.credential import Credential

TAGS = ("moorage", "moorage-cluster")
CLUSTER_TAG = "moorage-cluster"
# The parameters that users choose, and that a second `create` may not change; without the key and the token.
USER_PARAMETERS = (
    "image",
    "flavor",
    "worker_flavor",
    "workers",
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
# Those that a spec may leave open.
OPEN = ("image", "flavor", "worker_flavor", "external_network")


def stack_request(
    spec: ClusterSpec, signing_request: str, ready_timeout: int, credential: Credential | None = None
) -> StackRequest:
    """The request for a cluster's stack. The spec leaves nothing open; `ready_timeout` in seconds."""
    parameters = {
        **user_parameters(spec),
        "client_csr": signing_request,
        "bootstrap_token": bootstrap_token(),
        "ready_timeout": ready_timeout,
        "signal_timeout": ready_timeout + 120,
        "cloud_credential": asdict(credential) if credential else {},
    }
    nested = {name: template(name) for name in ("node-group.yaml", "node.yaml")}
    minutes = -(-(ready_timeout + 600) // 60)
    return StackRequest(spec.name, template("cluster.yaml"), nested, parameters, TAGS, minutes)


def user_parameters(spec: ClusterSpec) -> dict[str, Any]:
    """The stack parameters that the user chose."""
    return {
        "image": spec.image or "",
        "flavor": spec.flavor,
        "worker_flavor": spec.flavor_of_workers,
        "workers": spec.workers,
        "external_network": spec.external_network,
        "node_cidr": spec.node_cidr,
        "pod_cidr": spec.pod_cidr,
        "service_cidr": spec.service_cidr,
        "flannel_backend": spec.flannel_backend,
        "node_port_cidr": spec.node_port_cidr,
        "dns_nameservers": ",".join(spec.dns_nameservers),
        "registry_mirrors": dict(spec.registry_mirrors),
        "cloud_provider": spec.cloud_provider,
    }


def differences(spec: ClusterSpec, stack: Stack) -> list[str]:
    """Differences between the spec and the stack's parameters, as in "workers 2, not 3".

    What the spec leaves open matches anything.
    """
    return [
        f"{name} {_text(there)}, not {_text(asked)}"
        for name, asked in user_parameters(spec).items()
        if (asked != "" or name not in OPEN)
        and (there := stack.parameters.get(name)) is not None
        and _plain(there) != _plain(asked)
    ]


def as_text(stack: Stack) -> dict[str, str]:
    """The user's parameters of a stack, as text."""
    return {name: _text(stack.parameters[name]) for name in USER_PARAMETERS if name in stack.parameters}


def node_count(stack: Stack) -> int:
    """The number of nodes that a cluster has when it is complete."""
    return 1 + int(stack.parameters.get("workers", 0))


def template(name: str) -> str:
    """The text of a HOT file."""
    return (files("moorage.clusters") / "templates" / name).read_text()


def bootstrap_token() -> str:
    """A new token in Kubernetes' format, `[a-z0-9]{6}.[a-z0-9]{16}`."""
    letters = string.ascii_lowercase + string.digits
    return ".".join("".join(secrets.choice(letters) for _ in range(length)) for length in (6, 16))


def _plain(value: Any) -> Any:
    """A parameter's value in one form: Heat returns lists and maps as text."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    text = str(value).strip()
    if text[:1] in "[{" and text[:1]:
        try:
            return _plain(json.loads(text))
        except ValueError:
            return text
    return text


def _text(value: Any) -> str:
    plain = _plain(value)
    return json.dumps(plain) if isinstance(plain, dict) else str(plain) or "(none)"
