"""Which server a Node is, and the labels and addresses that the server gives it.

The provider ID has the form of OpenStack's cloud provider: `openstack:///ID`, or `openstack://REGION/ID` if the
operator chose regional ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from moorage.cloud.servers import Instance
from moorage.kube.objects import Object
from moorage.model.nodes import external_ips_label

PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"
"""kubelet's annotation with its configured addresses (comma-separated), which therefore come first."""
LABEL_LENGTH = 63  # characters, Kubernetes' limit for label values


@dataclass(frozen=True)
class Place:
    """The cluster's region, which may be empty; `regional` puts it into provider IDs."""

    region: str = ""
    regional: bool = False


def provider_id(instance: Instance, place: Place) -> str:
    return f"openstack://{place.region if place.regional else ''}/{instance.id}"


def server_id(node: Object, place: Place) -> str | None:
    """The server id in a Node's provider ID: empty when it has none yet, None for another cloud or region."""
    given = node.get("spec", {}).get("providerID")
    if not given:
        return ""
    parts = re.fullmatch(r"openstack://([^/]*)/([0-9A-Za-z-]+)", given)
    if parts is None or parts[1] not in ("", place.region):
        return None
    return parts[2]


def labels(instance: Instance, place: Place) -> dict[str, str]:
    """The well-known labels for which the cloud has a value."""
    known = {
        "node.kubernetes.io/instance-type": instance.flavor,
        "topology.kubernetes.io/region": place.region,
        "topology.kubernetes.io/zone": instance.zone,
    }
    return {name: label for name, value in known.items() if (label := label_value(value))}


def external_ips(instance: Instance) -> str:
    """The value of the label EXTERNAL_IPS; "" when the server has no floating IP."""
    return external_ips_label(address.ip for address in instance.addresses if address.kind == "floating")


def label_value(text: str) -> str:
    """The text as a label value: other characters become dashes, at most 63, alphanumeric at both ends."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:LABEL_LENGTH].strip("-_.")


def addresses(node: Object, instance: Instance) -> list[dict[str, str]]:
    """A Node's addresses for its status: kubelet's configured ones first, the host name last."""
    configured = (node["metadata"].get("annotations") or {}).get(PROVIDED_IP, "").split(",")
    kinds = {"fixed": "InternalIP", "floating": "ExternalIP"}
    found = [{"type": kinds[address.kind], "address": address.ip} for address in instance.addresses]
    found.sort(key=lambda entry: entry["address"] not in configured)
    return [*found, {"type": "Hostname", "address": node["metadata"]["name"]}]
