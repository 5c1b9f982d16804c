"""The objects that moorage-node creates in a new cluster: access rules, cluster-info, DNS, volumes. Pure."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template

import yaml

from moorage.kube.kubeconfig import without_user
from moorage.model.boot import Slot
from moorage.model.nodes import FAILED_IMAGE, IMAGE, IMAGE_FORMAT, OTHER_IMAGE
from moorage.model.ownership import CINDER_DRIVER
from moorage.node.api import Object
from moorage.node.layout import Layout
from moorage.node.userdata import Cluster

IMAGE_CONDITION = "MoorageImage"
MANIFESTS = Path(__file__).parent / "manifests"


def namespaces() -> list[Object]:
    """Kubernetes creates these too, but too late for us."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("kube-system", "kube-public")
    ]


def access() -> list[Object]:
    """Roles and bindings."""
    return _manifest("access.yaml", {})


def controller() -> list[Object]:
    """Roles and bindings of moorage-controller."""
    return _manifest("controller.yaml", {})


def dns(cluster: Cluster, forwards: bool) -> list[Object]:
    """CoreDNS. It forwards names outside the cluster to the node's own servers, if any."""
    forward = "forward . /etc/resolv.conf" if forwards else "# No DNS server outside to forward to."
    return _manifest("coredns.yaml", {"dns_address": cluster.dns_address, "forward": forward})


def image_annotations(node: str, slot: Slot, others: Sequence[Slot], format: str) -> Object:
    """The Node with the annotations for programs: `image_condition` is for people."""
    failed = next((other.version for other in others if other.left == 0), None)
    healthy = next((other.version for other in others if other.left is None), None)
    annotations = {IMAGE: slot.version, FAILED_IMAGE: failed, OTHER_IMAGE: healthy, IMAGE_FORMAT: format}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "annotations": annotations}}


def image_condition(node: str, slot: Slot, failed: Sequence[Slot], now: datetime.datetime) -> Object:
    """The Node with a condition that says which image runs; False after another one did not come up."""
    condition = {
        "type": IMAGE_CONDITION,
        "status": "False" if failed else "True",
        "reason": "ImageFailed" if failed else "ImageHealthy",
        "message": _running(slot, failed),
        "lastHeartbeatTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "lastTransitionTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": {"conditions": [condition]}}


def image_events(node: str, slot: Slot, failed: Sequence[Slot], now: datetime.datetime) -> list[Object]:
    """A warning when another image did not come up."""
    if not failed:
        return []
    return [
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{node}.{now.timestamp():.0f}.image", "namespace": "default"},
            "eventTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
            "action": "Boot",
            "reason": "ImageFailed",
            "type": "Warning",
            "note": _running(slot, failed),
            "regarding": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
            "reportingController": "moorage-node",
            "reportingInstance": node,
        }
    ]


def _running(slot: Slot, failed: Sequence[Slot]) -> str:
    bad = "".join(f"the image {other.version} did not come up; " for other in failed)
    return f"{bad}the node runs {slot.version} from slot {slot.name}"


def volumes() -> list[Object]:
    """The CSI driver, with its roles and bindings."""
    return _manifest("volumes.yaml", {})


def snapshot_definitions(layout: Layout) -> list[Object]:
    """The custom resource definitions of snapshots, upstream's own, from the image."""
    return _documents(layout.snapshot_definitions.read_text())


def snapshot_class() -> Object:
    """The default VolumeSnapshotClass. The API server accepts it once it knows snapshots."""
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": "cinder", "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": CINDER_DRIVER,
        "deletionPolicy": "Delete",
        "parameters": {"force-create": "true"},
    }


def control_plane_label(node: str) -> Object:
    """A patch of a Node with the label of its role."""
    labels = {"node-role.kubernetes.io/control-plane": ""}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}


def cluster_info(cluster: Cluster, ca: str, signed: bool = True) -> Object:
    """The public ConfigMap with the API server's address and CA, signed by the join token.

    The signature is the one that Kubernetes' bootstrapsigner would add some seconds later: a detached JWS.
    """
    text = _public_kubeconfig(cluster, ca)
    data = {"kubeconfig": text}
    if signed:
        data[f"jws-kubeconfig-{cluster.token_id}"] = signature(
            text, cluster.token_secret, signature_header(cluster.token_id)
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": data,
    }


def signature_header(token_id: str) -> str:
    """The header of a signature by a join token."""
    return _base64(json.dumps({"alg": "HS256", "kid": token_id}, separators=(",", ":")).encode())


def signature(text: str, token_secret: str, header: str) -> str:
    """A JWS over `text` without the payload (RFC 7515, appendix F); always HMAC with SHA-256.

    The header is used as it was written, because it is signed too; its algorithm is ignored.
    """
    digest = hmac.digest(token_secret.encode(), f"{header}.{_base64(text.encode())}".encode(), hashlib.sha256)
    return f"{header}..{_base64(digest)}"


def _public_kubeconfig(cluster: Cluster, ca: str) -> str:
    return json.dumps(without_user(f"https://{cluster.api_address}:6443", ca), indent=2) + "\n"


def _manifest(name: str, values: dict[str, str]) -> list[Object]:
    return _documents(Template((MANIFESTS / name).read_text()).substitute(values))


def _documents(text: str) -> list[Object]:
    documents: Sequence[Object | None] = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return [document for document in documents if document]


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
