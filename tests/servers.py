"""Servers without a network on a real cloud, for tests to which only their volumes matter."""

from __future__ import annotations

import time
import uuid

from moorage.cloud.rest import Rest
from moorage.model.errors import NotFound


def made(rest: Rest) -> str:
    """Id of a new server of the image that nodes have, once it is ACTIVE."""
    flavors = rest.get("compute", "/flavors")["flavors"]
    image = next(found for found in rest.get("image", "/images")["images"] if found["status"] == "active")
    wanted = {
        "name": f"v{uuid.uuid4().hex[:8]}",
        "flavorRef": next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.node"),
        "imageRef": image["id"],
        "networks": "none",  # known from 2.37 on
    }
    id: str = rest.post("compute", "/servers", {"server": wanted}, microversion="2.37")["server"]["id"]
    ends = time.monotonic() + 60
    while (status := rest.get("compute", f"/servers/{id}")["server"]["status"]) != "ACTIVE":
        assert status == "BUILD", status
        assert time.monotonic() < ends, "the server is still in BUILD"
        time.sleep(0.3)
    return id


def deleted(rest: Rest, id: str) -> None:
    """Delete a server and wait until it is gone."""
    rest.delete("compute", f"/servers/{id}")
    ends = time.monotonic() + 60
    while True:
        try:
            rest.get("compute", f"/servers/{id}")
        except NotFound:
            return
        assert time.monotonic() < ends, "the server is still there"
        time.sleep(0.3)
