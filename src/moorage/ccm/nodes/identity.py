"""Maps a node to its server, and the server to the node's labels and addresses.

The provider ID has the form of OpenStack's cloud provider: `openstack:///ID`, or `openstack://REGION/ID` where the
cluster's operator chose regional ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from moorage.cloud.port.servers import Server
from moorage.kube.port import Object
from moorage.model.nodes import external_ips_label

PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"
"""kubelet's annotation with its `--node-ip` addresses, comma-separated; the node's status lists them first."""
LABEL_LENGTH = 63  # characters, by Kubernetes' rule for label values


@dataclass(frozen=True)
class Place:
    """The cluster's region, which may be empty; `regional` puts it into provider IDs."""

    region: str = ""
    regional: bool = False


def provider_id(instance: Server, place: Place) -> str:
    return f"openstack://{place.region if place.regional else ''}/{instance.id}"


def server_id(node: Object, place: Place) -> str | None:
    """The server's id in a node's provider ID: empty without a provider ID, None for another cloud or region."""
    provider_id = node.get("spec", {}).get("providerID")
    if not provider_id:
        return ""
    match = re.fullmatch(r"openstack://([^/]*)/([0-9A-Za-z-]+)", provider_id)
    if match is None or match[1] not in ("", place.region):
        return None
    return match[2]


def labels(instance: Server, place: Place) -> dict[str, str]:
    """The well-known labels that the cloud has values for; labels without a value are left out."""
    values = {
        "node.kubernetes.io/instance-type": instance.flavor,
        "topology.kubernetes.io/region": place.region,
        "topology.kubernetes.io/zone": instance.zone,
    }
    return {name: label for name, value in values.items() if (label := label_value(value))}


def external_ips(instance: Server) -> str:
    """The value of the label EXTERNAL_IPS; "" when the server has no floating IP."""
    return external_ips_label(address.ip for address in instance.addresses if address.kind == "floating")


def label_value(text: str) -> str:
    """The text as a label value: invalid characters become dashes, at most 63 characters, alphanumeric at both ends."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:LABEL_LENGTH].strip("-_.")


def addresses(node: Object, instance: Server) -> list[dict[str, str]]:
    """The addresses for a node's status: first the ones from kubelet's `--node-ip`, last the node's name."""
    preferred = (node["metadata"].get("annotations") or {}).get(PROVIDED_IP, "").split(",")
    kinds = {"fixed": "InternalIP", "floating": "ExternalIP"}
    entries = [{"type": kinds[address.kind], "address": address.ip} for address in instance.addresses]
    entries.sort(key=lambda entry: entry["address"] not in preferred)
    return [*entries, {"type": "Hostname", "address": node["metadata"]["name"]}]
