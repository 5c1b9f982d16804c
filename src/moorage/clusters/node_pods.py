"""Pods that run a program of a node's own image on the node itself, as its administrator. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moorage.kube.port import Object

NAMESPACE = "kube-system"
IMAGE = "moorage.local/pause:1"
"""Every node has it. Only the container's root is of it: all programs are the node's."""
LIBRARIES = "/host/usr/lib/x86_64-linux-gnu"
ENTER = (f"{LIBRARIES}/ld-linux-x86-64.so.2", "--library-path", LIBRARIES, "/host/usr/sbin/chroot", "/host")
"""chroot(8) of the node, started by the node's dynamic loader, because the container has none."""


@dataclass(frozen=True)
class HostCommand:
    """A command line on a node. `secrets` are variables of its environment, which a Secret passes unchanged."""

    action: str
    arguments: Sequence[str]
    secrets: Mapping[str, str] = field(default_factory=dict)


def name(node: str, action: str) -> str:
    """The key of the pod, and of its Secret."""
    return f"{NAMESPACE}/moorage-{action}-{node}"


def secret(node: str, command: HostCommand) -> Object:
    """The Secret with the command's variables."""
    data = {name: b64encode(text.encode()).decode() for name, text in command.secrets.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(node, command), "data": data}


def pod(node: str, command: HostCommand) -> Object:
    """The pod; it is privileged, and its root is an empty folder with the node's root in /host."""
    variables: list[Object] = [
        {"name": "PATH", "value": "/usr/sbin:/usr/bin"},
        {"name": "SYSTEMD_IGNORE_CHROOT", "value": "1"},
    ]
    for name in command.secrets:
        reference = {"name": _metadata(node, command)["name"], "key": name}
        variables.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    container = {
        "name": "host",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": [*ENTER, *command.arguments],
        "env": variables,
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "host", "mountPath": "/host", "mountPropagation": "HostToContainer"}],
    }
    spec = {
        "nodeName": node,
        "hostPID": True,
        "hostNetwork": True,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "priorityClassName": "system-node-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(node, command), "spec": spec}


def _metadata(node: str, command: HostCommand) -> Object:
    namespace, _, own = name(node, command.action).partition("/")
    return {"namespace": namespace, "name": own}
