"""Seed a cloud that is empty, partly seeded, or complete."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from moorage.local import seed
from moorage.local.secrets import ensure
from moorage.local.services import SERVICES

pytestmark = pytest.mark.unit


class MemoryCloud:
    """A fake Session: collections of documents behind paths, as in the OpenStack APIs."""

    project_id = "admin-project"

    def __init__(self) -> None:
        self.documents: dict[str, list[dict[str, Any]]] = {}
        self.grants: set[str] = set()
        self.writes = 0

    def request(self, method: str, type: str, path: str, body: Any = None) -> Any:
        split = urlsplit(path)
        collection = split.path.rsplit("/", 1)[-1]
        collection = {"types": "volume_types"}.get(collection, collection)
        if method == "PUT":
            self.writes += split.path not in self.grants
            self.grants.add(split.path)
            return None
        documents = self.documents.setdefault(collection, [])
        if method == "GET":
            query = dict(parse_qsl(split.query))
            return {collection: [d for d in documents if all(d.get(k) == v for k, v in query.items())]}
        assert method == "POST"
        self.writes += 1
        (noun, document), *_ = body.items()
        created = {"subnets": [], **document, "id": f"{noun}-{len(documents)}"}
        documents.append(created)
        if noun == "subnet":
            self.documents["networks"][0]["subnets"].append(created["id"])
        return {noun: created}


@pytest.fixture
def cloud():
    memory = MemoryCloud()
    memory.documents["roles"] = [{"name": n, "id": f"role-{n}"} for n in ("admin", "member", "reader", "service")]
    return memory


def seed_all(memory: MemoryCloud, passwords) -> None:
    seed.Identity(memory, passwords).seed()
    seed.seed_flavors(memory)
    seed.seed_network(memory)
    seed.seed_volume_type(memory)


def test_seed_creates_users_and_endpoints(cloud, tmp_path):
    seed_all(cloud, ensure(tmp_path / "secrets"))
    users = {user["name"] for user in cloud.documents["users"]}
    assert users >= {entry.name for entry in SERVICES} | {"moorage", "heat_domain_admin"}
    assert len(cloud.documents["endpoints"]) == 3 * len(SERVICES)
    assert {flavor["name"] for flavor in cloud.documents["flavors"]} == {"m1.small", "m1.node", "m1.large"}
    assert cloud.documents["subnets"][0]["gateway_ip"] == "172.24.4.1"


def test_seed_again_writes_nothing(cloud, tmp_path):
    passwords = ensure(tmp_path / "secrets")
    seed_all(cloud, passwords)
    before = cloud.writes
    seed_all(cloud, passwords)
    assert cloud.writes == before


def test_interrupted_seed_is_completed(cloud, tmp_path):
    passwords = ensure(tmp_path / "secrets")
    seed_all(cloud, passwords)
    cloud.documents["users"] = [user for user in cloud.documents["users"] if user["name"] != "moorage"]
    cloud.documents["endpoints"] = cloud.documents["endpoints"][:-1]
    seed_all(cloud, passwords)
    assert [user["name"] for user in cloud.documents["users"]].count("moorage") == 1
    assert len(cloud.documents["endpoints"]) == 3 * len(SERVICES)


def test_tenant_has_no_administrative_role(cloud, tmp_path):
    seed_all(cloud, ensure(tmp_path / "secrets"))
    tenant = next(user["id"] for user in cloud.documents["users"] if user["name"] == "moorage")
    roles = {match[1] for path in cloud.grants if (match := re.search(rf"users/{tenant}/roles/(.*)", path))}
    assert "role-admin" not in roles
    assert {"role-member", "role-reader"} <= roles
