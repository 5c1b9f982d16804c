"""Drain a Node before it is removed: cordon it, evict its pods, wait until its volumes are detached.

Each call may be repeated, also by another process: what is done is read from the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from moorage.kube.port import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    VOLUME_ATTACHMENTS,
    KubernetesClient,
    Object,
    key_of,
)
from moorage.model.errors import Conflict, NotFound
from moorage.model.nodes import REMOVING

MIRROR = "kubernetes.io/config.mirror"  # the annotation of pods that a kubelet runs without the API


@dataclass(frozen=True)
class Draining:
    """What a node still has: pods that are stopping or volumes to detach, and pods that may not be evicted now."""

    waiting: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return not (self.waiting or self.blocked)


def begin(kube: KubernetesClient, node: str) -> None:
    """Mark the Node as being removed, and cordon it; does nothing when there is none."""
    _patch(kube, node, {"metadata": {"annotations": {REMOVING: "true"}}, "spec": {"unschedulable": True}})


def cordon(kube: KubernetesClient, node: str) -> None:
    """Keep new pods from the Node; does nothing when there is none."""
    _patch(kube, node, {"spec": {"unschedulable": True}})


def cancel(kube: KubernetesClient, node: str) -> None:
    """Undo `begin`."""
    _patch(kube, node, {"metadata": {"annotations": {REMOVING: None}}, "spec": {"unschedulable": None}})


def delete(kube: KubernetesClient, node: str) -> None:
    """Delete a Node of which the server is deleted, and its pods at once: none of them can run any more.

    Clears `volumesInUse` first: the kubelet's last report would delay the detachment of volumes for minutes.
    """
    _patch(kube, node, {"status": {"volumesInUse": None}}, status=True)
    kube.delete(NODES, node)
    for pod in kube.list(PODS, f"spec.nodeName={node}").items:
        with suppress(Conflict):  # a new pod of the same name, on another node
            kube.delete(PODS, key_of(pod), pod["metadata"]["uid"], at_once=True)


def _patch(kube: KubernetesClient, node: str, change: Object, *, status: bool = False) -> None:
    with suppress(NotFound):
        kube.patch(NODES, node, change, status=status)


def drain(kube: KubernetesClient, node: str) -> Draining:
    """Evict the Node's pods as far as disruption budgets allow it, and return what remains.

    Pods of DaemonSets stay, as with kubectl drain; so do their volumes.
    """
    all_pods = kube.list(PODS, f"spec.nodeName={node}").items
    pods = [pod for pod in all_pods if _has_to_go(pod)]
    problems = {key_of(pod): "" if _is_stopping(pod) else _evict(kube, key_of(pod)) for pod in pods}
    blocked = [f"pod {pod}: {reason}" for pod, reason in problems.items() if reason]
    waiting = [f"waiting for pod {pod} to stop" for pod, reason in problems.items() if not reason]
    if not pods:
        kept = {volume for pod in all_pods for volume in _volumes(kube, pod)}
        waiting = [
            f"waiting for volume {volume} to be detached" for volume in _attached(kube, node) if volume not in kept
        ]
    return Draining(tuple(waiting), tuple(blocked))


def _evict(kube: KubernetesClient, pod: str) -> str:
    """Why the pod may not be evicted now; "" when it is being evicted."""
    try:
        kube.evict(pod)
    except Conflict as error:
        return error.message
    return ""


def _has_to_go(pod: Object) -> bool:
    metadata, status = pod["metadata"], pod.get("status", {})
    owners = (owner["kind"] for owner in metadata.get("ownerReferences") or ())
    ended = status.get("phase") in ("Succeeded", "Failed")
    return not (ended or MIRROR in (metadata.get("annotations") or {}) or "DaemonSet" in owners)


def _is_stopping(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _attached(kube: KubernetesClient, node: str) -> list[str]:
    """The volumes that the attach-detach controller has not detached from the node."""
    attachments = (it["spec"] for it in kube.list(VOLUME_ATTACHMENTS).items)
    return sorted(
        str(spec["source"].get("persistentVolumeName") or "inline") for spec in attachments if spec["nodeName"] == node
    )


def _volumes(kube: KubernetesClient, pod: Object) -> Iterator[str]:
    """The persistent volumes of a pod."""
    namespace, name = pod["metadata"].get("namespace", ""), pod["metadata"]["name"]
    for volume in pod["spec"].get("volumes") or ():
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        claim = claim or (f"{name}-{volume['name']}" if "ephemeral" in volume else "")
        found = kube.get(PERSISTENT_VOLUME_CLAIMS, f"{namespace}/{claim}") if claim else None
        if found:
            yield str(found["spec"].get("volumeName", ""))
