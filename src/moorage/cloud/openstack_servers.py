"""The port `Instances` on a real Nova, with few and large requests."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Any

from moorage.cloud.rest import Rest
from moorage.cloud.servers import Address, Instance
from moorage.model.errors import NotFound

FLAVOR_BY_NAME = "2.47"  # Nova's microversion from which a server has its flavor's name


class OpenStackInstances:
    """The port `Instances` on Nova."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def list(self, cluster: str) -> builtins.list[Instance]:
        return [_instance(row) for row in server_rows(self.rest, cluster, FLAVOR_BY_NAME)]

    def get(self, id: str) -> Instance | None:
        try:
            row = self.rest.get("compute", f"/servers/{id}", microversion=FLAVOR_BY_NAME)["server"]
        except NotFound:
            return None
        return None if row["status"] == "DELETED" else _instance(row)


def server_rows(rest: Rest, cluster: str, microversion: str = "") -> Iterator[Mapping[str, Any]]:
    """The servers with this cluster's metadata, as Nova returns them, page by page."""
    query = {"name": f"^{cluster}-"}
    while True:
        page = rest.get("compute", "/servers/detail", microversion=microversion, **query)
        yield from (row for row in page["servers"] if row["metadata"].get("moorage_cluster") == cluster)
        if not page["servers"] or not page.get("servers_links"):
            return
        query["marker"] = page["servers"][-1]["id"]


def _instance(row: Mapping[str, Any]) -> Instance:
    entries = (entry for network in (row.get("addresses") or {}).values() for entry in network)
    return Instance(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        flavor=row["flavor"].get("original_name", ""),
        zone=row.get("OS-EXT-AZ:availability_zone") or "",
        addresses=tuple(_address(entry) for entry in entries),
        metadata=row["metadata"],
    )


def _address(entry: Mapping[str, Any]) -> Address:
    return Address("floating" if entry.get("OS-EXT-IPS:type") == "floating" else "fixed", entry["addr"])
