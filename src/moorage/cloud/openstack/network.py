"""The port `Network` on a real Neutron."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.network import (
    ClusterNetwork,
    ExternalNetwork,
    FloatingIP,
    NetworkResource,
    Port,
    SecurityGroupRule,
    Subnet,
)
from moorage.cloud.port.quota import Quota
from moorage.model.errors import NotFound
from moorage.model.ownership import owned_by

NEUTRON = "network"
# Our name of a quota, and Neutron's.
QUOTAS = {
    "networks": "network",
    "ports": "port",
    "routers": "router",
    "security_groups": "security_group",
    "floating_ips": "floatingip",
}
# Paths of what belongs to a cluster, and the field that names it.
COLLECTIONS = {
    "floating IP": ("/floatingips", "floating_ip_address"),
    "router": ("/routers", "name"),
    "network": ("/networks", "name"),
    "security group": ("/security-groups", "name"),
}
FIELDS = ["id", "floating_ip_address", "port_id", "description"]


class OpenStackNetwork:
    """The port `Network` on Neutron."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def cluster_network(self, cluster: str) -> ClusterNetwork | None:
        subnet = self._find_owned(cluster, "subnets", cluster)
        group = self._find_owned(cluster, "security-groups", f"{cluster}-nodes")
        if subnet is None or group is None:
            return None
        router = self._find_owned(cluster, "routers", cluster) or {}
        external_network = (router.get("external_gateway_info") or {}).get("network_id") or ""
        return ClusterNetwork(_subnet(subnet), group["id"], external_network)

    def _find_owned(self, cluster: str, collection: str, name: str) -> Mapping[str, Any] | None:
        rows = self.rest.list(NEUTRON, f"/{collection}", name=name, project_id=self.rest.project())
        return next((row for row in rows if row["description"] == owned_by(cluster)), None)

    def subnet(self, id: str) -> Subnet | None:
        try:
            return _subnet(self.rest.get(NEUTRON, f"/subnets/{id}")["subnet"])
        except NotFound:
            return None

    def subnets(self, network: str) -> list[Subnet]:
        subnets = [_subnet(row) for row in self.rest.list(NEUTRON, "/subnets", network_id=network)]
        return sorted(subnets, key=lambda subnet: subnet.name)

    def floating_ips(self) -> list[FloatingIP]:
        rows = self.rest.list(NEUTRON, "/floatingips", fields=FIELDS, project_id=self.rest.project())
        return [_floating_ip(row) for row in rows]

    def create_floating_ip(
        self, network: str, subnet: str, port: str, description: str, address: str = ""
    ) -> FloatingIP:
        body = {
            "floating_network_id": network,
            "subnet_id": subnet,
            "port_id": port,
            "floating_ip_address": address,
            "description": description,
        }
        chosen = {key: value for key, value in body.items() if value}
        return _floating_ip(self.rest.post(NEUTRON, "/floatingips", {"floatingip": chosen})["floatingip"])

    def associate_floating_ip(self, id: str, port: str) -> None:
        self.rest.put(NEUTRON, f"/floatingips/{id}", {"floatingip": {"port_id": port or None}})

    def set_floating_ip_description(self, id: str, description: str) -> None:
        self.rest.put(NEUTRON, f"/floatingips/{id}", {"floatingip": {"description": description}})

    def delete_floating_ip(self, id: str) -> None:
        self._delete(f"/floatingips/{id}")

    def rules(self, group: str) -> list[SecurityGroupRule]:
        rows = self.rest.list(NEUTRON, "/security-group-rules", security_group_id=group, direction="ingress")
        return [_rule(row) for row in rows if _allows_one_port(row)]

    def create_rule(self, rule: SecurityGroupRule) -> None:
        body = {
            "security_group_id": rule.group,
            "direction": "ingress",
            "ethertype": "IPv6" if ":" in rule.cidr else "IPv4",
            "protocol": rule.protocol,
            "port_range_min": rule.port,
            "port_range_max": rule.port,
            "remote_ip_prefix": rule.cidr,
            "description": rule.description,
        }
        self.rest.post(NEUTRON, "/security-group-rules", {"security_group_rule": body})

    def delete_rule(self, id: str) -> None:
        self._delete(f"/security-group-rules/{id}")

    def owned(self, cluster: str) -> list[NetworkResource]:
        query: dict[str, Any] = {"project_id": self.rest.project(), "description": owned_by(cluster)}
        return [
            NetworkResource(kind, row["id"], row[name] or row["id"])
            for kind, (path, name) in COLLECTIONS.items()
            for row in self.rest.list(NEUTRON, path, fields=["id", name, "description"], **query)
            if row["description"] == owned_by(cluster)
        ]

    def ports(self, networks: Iterable[str]) -> list[Port]:
        fields = ["id", "device_owner", "device_id"]
        rows = self.rest.list(NEUTRON, "/ports", fields=fields, network_id=[*networks])
        return [Port(row["id"], row["device_owner"], row["device_id"]) for row in rows]

    def detach_port(self, port: str, router: str) -> None:
        try:
            self.rest.put(NEUTRON, f"/routers/{router}/remove_router_interface", {"port_id": port})
        except NotFound:
            return

    def delete_port(self, id: str) -> None:
        try:
            # Neutron 29 lets no project delete a port that belongs to a server, but lets it change the port's owner.
            self.rest.put(NEUTRON, f"/ports/{id}", {"port": {"device_id": "", "device_owner": ""}})
            self.rest.delete(NEUTRON, f"/ports/{id}")
        except NotFound:
            return

    def delete(self, resource: NetworkResource) -> None:
        self._delete(f"{COLLECTIONS[resource.kind][0]}/{resource.id}")

    def external_networks(self) -> list[ExternalNetwork]:
        query: dict[str, Any] = {"router:external": "True", "fields": ["id", "name"]}
        rows = self.rest.list(NEUTRON, "/networks", **query)
        return [ExternalNetwork(row["id"], row["name"] or "") for row in rows]

    def quotas(self) -> dict[str, Quota]:
        rows = self.rest.get(NEUTRON, f"/quotas/{self.rest.project()}/details.json")["quota"]
        return {
            name: Quota.from_limit(rows[neutron_name]["used"], rows[neutron_name]["limit"])
            for name, neutron_name in QUOTAS.items()
            if neutron_name in rows
        }

    def _delete(self, path: str) -> None:
        try:
            self.rest.delete(NEUTRON, path)
        except NotFound:
            return


def _subnet(row: Mapping[str, Any]) -> Subnet:
    return Subnet(row["id"], row["name"] or "", row["cidr"], tuple(row.get("tags") or ()))


def _floating_ip(row: Mapping[str, Any]) -> FloatingIP:
    return FloatingIP(row["id"], row["floating_ip_address"], row["port_id"] or "", row["description"] or "")


def _allows_one_port(row: Mapping[str, Any]) -> bool:
    return bool(row["remote_ip_prefix"] and row["port_range_min"] and row["port_range_min"] == row["port_range_max"])


def _rule(row: Mapping[str, Any]) -> SecurityGroupRule:
    return SecurityGroupRule(
        group=row["security_group_id"],
        protocol=row["protocol"],
        port=row["port_range_min"],
        cidr=row["remote_ip_prefix"],
        description=row["description"] or "",
        id=row["id"],
    )
