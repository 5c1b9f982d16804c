"""The port `Servers` on a real Nova, with few and large requests."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from moorage.cloud.openstack.rest import Rest
from moorage.cloud.port.quota import Quota
from moorage.cloud.port.servers import Address, Flavor, Server, own_servers
from moorage.model.errors import Conflict, NotFound

NOVA = "compute"
EXTRA_SPECS = "2.61"  # from which the list of flavors has them
TRAIT = "trait:"
FLAVOR_BY_NAME = "2.47"  # Nova's microversion from which a server has its flavor's name
QUOTAS = {
    "instances": ("totalInstancesUsed", "maxTotalInstances"),
    "cores": ("totalCoresUsed", "maxTotalCores"),
    "ram": ("totalRAMUsed", "maxTotalRAMSize"),
}


class OpenStackServers:
    """The port `Servers` on Nova."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def list(self, cluster: str = "") -> builtins.list[Server]:
        query = {"name": f"^{cluster}-"} if cluster else {}
        rows = self.rest.list(NOVA, "/servers/detail", key="servers", microversion=FLAVOR_BY_NAME, **query)
        return own_servers((_server(row) for row in rows), cluster)

    def get(self, id: str) -> Server | None:
        try:
            row = self.rest.get(NOVA, f"/servers/{id}", microversion=FLAVOR_BY_NAME)["server"]
        except NotFound:
            return None
        return None if row["status"] == "DELETED" else _server(row)

    def delete(self, id: str) -> None:
        try:
            self.rest.delete(NOVA, f"/servers/{id}")
        except (NotFound, Conflict):
            return  # deleted meanwhile, or being deleted

    def flavors(self) -> builtins.list[Flavor]:
        rows = self.rest.list(NOVA, "/flavors/detail", key="flavors", microversion=EXTRA_SPECS)
        return [_flavor(row) for row in rows]

    def zones(self) -> builtins.list[str]:
        rows = self.rest.get(NOVA, "/os-availability-zone")["availabilityZoneInfo"]
        return sorted(row["zoneName"] for row in rows if row["zoneState"]["available"])

    def quotas(self) -> dict[str, Quota]:
        limits = self.rest.get(NOVA, "/limits")["limits"]["absolute"]
        return {name: Quota.from_limit(limits[used], limits[limit]) for name, (used, limit) in QUOTAS.items()}


def _flavor(row: Mapping[str, Any]) -> Flavor:
    """A user who may not see the extra specs gets none."""
    specs = row.get("extra_specs") or {}
    traits = frozenset(name.removeprefix(TRAIT) for name, value in specs.items() if value == "required")
    return Flavor(row["name"], row["id"], row["vcpus"], row["ram"], row["disk"], traits)


def _server(row: Mapping[str, Any]) -> Server:
    entries = (entry for network in (row.get("addresses") or {}).values() for entry in network)
    return Server(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        flavor=row["flavor"].get("original_name", ""),
        zone=row.get("OS-EXT-AZ:availability_zone") or "",
        addresses=tuple(_address(entry) for entry in entries),
        metadata=row["metadata"],
        fault=row.get("fault", {}).get("message", ""),
    )


def _address(entry: Mapping[str, Any]) -> Address:
    return Address("floating" if entry.get("OS-EXT-IPS:type") == "floating" else "fixed", entry["addr"])
