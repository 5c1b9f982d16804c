"""The API objects of a large cluster, with the sizes that kubelets and controllers produce."""

from __future__ import annotations

from typing import Any

from moorage.cloud.port.servers import Address, Server
from moorage.kube.port import Object
from moorage.model.ownership import CINDER_DRIVER

TAINT = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}
PROTOCOLS = ("TCP", "UDP")


def node(number: int) -> Object:
    """About 6 KB as JSON, with images and managed fields; ready."""
    images = [{"names": [f"registry.example/{'n' * 60}@{i}"], "sizeBytes": i} for i in range(40)]
    return {
        "metadata": {
            "name": f"demo-{number}",
            "labels": {"kubernetes.io/hostname": f"demo-{number}", "kubernetes.io/os": "linux"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:{i}": {} for i in range(60)}}],
        },
        "spec": {"taints": [TAINT], "podCIDR": "10.244.0.0/24"},
        "status": {"conditions": conditions("True"), "images": images, "capacity": {"cpu": "2", "memory": "2Gi"}},
    }


def conditions(ready: str) -> list[Object]:
    """The conditions of a node with that Ready status."""
    return [
        {
            "type": kind,
            "status": ready if kind == "Ready" else "False",
            "reason": f"Kubelet{kind}",
            "message": "x" * 60,
            "lastHeartbeatTime": "t" * 20,
        }
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    ]


def server(number: int) -> Server:
    address = Address("fixed", f"10.0.{number // 250}.{number % 250 + 1}")
    words: dict[str, Any] = {"addresses": (address,), "metadata": {"moorage_cluster": "demo"}}
    return Server(f"id-{number}", f"demo-{number}", "ACTIVE", "m1.node", "nova", **words)


def service(number: int) -> Object:
    """A Service of type LoadBalancer; every second one has two ports."""
    count = 1 + number % 2
    ports = [
        {"port": 80 + i, "protocol": PROTOCOLS[i], "nodePort": 30000 + 2 * number + i, "targetPort": 8080}
        for i in range(count)
    ]
    spec = {"type": "LoadBalancer", "ports": ports, "ipFamilies": ["IPv4"], "selector": {"app": f"app-{number}"}}
    return {"metadata": {"name": f"app-{number}", "namespace": "default"}, "spec": spec}


def endpoint_slice(number: int, nodes: int) -> Object:
    """An EndpointSlice of the Service of that number: three endpoints on any nodes."""
    name, places = f"app-{number}", [f"demo-{(number * 3 + i) % nodes}" for i in range(3)]
    endpoints = [
        {"addresses": [f"10.244.{number % 250}.{i + 1}"], "nodeName": place, "conditions": {"ready": True}}
        for i, place in enumerate(places)
    ]
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-x", "namespace": "default", "labels": labels}
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints}


def volume(number: int, handle: str) -> Object:
    """A PersistentVolume with the reclaim policy Retain."""
    csi = {"driver": CINDER_DRIVER, "volumeHandle": handle}
    spec = {"csi": csi, "persistentVolumeReclaimPolicy": "Retain", "capacity": {"storage": "1Gi"}}
    annotations = {"pv.kubernetes.io/provisioned-by": CINDER_DRIVER}
    return {"metadata": {"name": f"pvc-{number}", "annotations": annotations}, "spec": spec}


def shown(service: Object) -> bool:
    """Whether a Service has an address."""
    return bool(service.get("status", {}).get("loadBalancer", {}).get("ingress"))
