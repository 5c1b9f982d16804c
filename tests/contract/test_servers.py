"""The port of a cluster's servers: Nova and the servers in memory behave the same.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud of the tests' own.
"""

from __future__ import annotations

import uuid

import pytest

from moorage.cloud.memory.servers import MemoryServers
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.servers import OpenStackServers
from moorage.cloud.port.servers import Server
from waiting import until

pytestmark = [pytest.mark.contract, pytest.mark.cloud, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]


class InMemory:
    def __init__(self):
        self.port = MemoryServers()

    def create(self, cluster):
        server = Server(
            str(uuid.uuid4()), f"{cluster}-x", "ACTIVE", "m1.node", "nova", (), {"moorage_cluster": cluster}
        )
        self.port.servers[server.id] = server
        return server.id

    def delete(self, id):
        self.port.servers.pop(id, None)


class InNova:
    """Servers without a network: the tests read only what Nova stores about them."""

    def __init__(self, entry):
        self.rest = Rest.connect(entry)
        self.port = OpenStackServers(self.rest)

    def create(self, cluster):
        flavors = self.rest.get("compute", "/flavors")["flavors"]
        image = next(i for i in self.rest.get("image", "/images")["images"] if i["status"] == "active")
        body = {
            "name": f"{cluster}-x",
            "flavorRef": next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.node"),
            "imageRef": image["id"],
            "networks": "none",
            "metadata": {"moorage_cluster": cluster},
        }
        headers = {"OpenStack-API-Version": "compute 2.37"}  # the first with "networks": "none"
        answer = self.rest.session.post(
            f"{self.rest.endpoint('compute')}/servers", json={"server": body}, headers=headers
        )
        return answer.json()["server"]["id"]

    def delete(self, id):
        self.rest.delete("compute", f"/servers/{id}")


@pytest.fixture(params=["memory", "openstack"])
def nova(request):
    if request.param == "memory":
        return InMemory()
    return InNova(request.getfixturevalue("cloud_entry"))


@pytest.fixture
def cluster():
    return f"c{uuid.uuid4().hex[:8]}"


@pytest.fixture
def server(nova, cluster):
    server_id = nova.create(cluster)
    yield server_id
    if nova.port.get(server_id) is not None:
        nova.delete(server_id)


def test_server_is_found_by_cluster_and_id(nova, cluster, server):
    [listed] = nova.port.list(cluster)
    read = nova.port.get(server)
    assert listed.id == read.id == server
    assert (read.name, read.flavor) == (f"{cluster}-x", "m1.node")
    assert read.metadata["moorage_cluster"] == cluster
    assert nova.port.list(f"{cluster}-other") == []
    assert server in [found.id for found in nova.port.list()]


def test_deleted_server_is_none(nova, cluster, server):
    nova.delete(server)
    until(lambda: nova.port.get(server) is None, seconds=30)
    assert nova.port.list(cluster) == []


def test_unknown_server_is_none(nova):
    assert nova.port.get(str(uuid.uuid4())) is None
