"""Servers without a network on a real cloud, for tests of their volumes only."""

from __future__ import annotations

import uuid

from moorage.cloud.openstack.rest import Rest
from moorage.model.errors import NotFound
from waiting import until


def create_server(rest: Rest) -> str:
    """Create a server from the active image, and wait until it is ACTIVE; returns its id."""
    flavors = rest.get("compute", "/flavors")["flavors"]
    image = next(found for found in rest.get("image", "/images")["images"] if found["status"] == "active")
    body = {
        "name": f"v{uuid.uuid4().hex[:8]}",
        "flavorRef": next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.node"),
        "imageRef": image["id"],
        "networks": "none",  # since microversion 2.37
    }
    id: str = rest.post("compute", "/servers", {"server": body}, microversion="2.37")["server"]["id"]
    server = until(lambda: rest.get("compute", f"/servers/{id}")["server"], lambda found: found["status"] != "BUILD")
    assert server["status"] == "ACTIVE", server
    return id


def delete_server(rest: Rest, id: str) -> None:
    """Delete a server and wait until it does not exist."""
    rest.delete("compute", f"/servers/{id}")
    until(lambda: _is_deleted(rest, f"/servers/{id}"))


def _is_deleted(rest: Rest, path: str) -> bool:
    try:
        rest.get("compute", path)
    except NotFound:
        return True
    return False
