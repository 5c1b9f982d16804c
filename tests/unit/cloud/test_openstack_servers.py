"""The conversion of Nova's responses, which have the shapes of its API reference, microversion 2.47."""

from __future__ import annotations

import pytest
from keystoneauth1.session import Session as RealSession

from answers import Answer
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.servers import OpenStackServers
from moorage.cloud.port.servers import Address
from moorage.model.errors import CloudUnreachable

pytestmark = pytest.mark.unit


class Nova(RealSession):
    """A session that returns responses in turn, and records requests."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    def get_endpoint(self, *_, **__):
        return "http://nova:8774/v2.1"

    def request(self, url, method, **options):
        self.requests.append((url, options))
        return self.answers.pop(0)


def row(id="s1", cluster="demo", **options):
    port = {"OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01", "version": 4}
    return {
        "id": id,
        "name": f"{cluster}-worker-0",
        "status": "ACTIVE",
        "metadata": {"moorage_cluster": cluster},
        "flavor": {"original_name": "m1.node", "vcpus": 2, "ram": 2048, "disk": 10, "ephemeral": 0, "swap": 0},
        "OS-EXT-AZ:availability_zone": "nova",
        "addresses": {
            "demo-nodes": [
                {**port, "addr": "10.0.0.5", "OS-EXT-IPS:type": "fixed"},
                {**port, "addr": "172.24.4.9", "OS-EXT-IPS:type": "floating"},
            ]
        },
        **options,
    }


def instances(*answers):
    nova = Nova(*answers)
    return OpenStackServers(Rest(nova, "mine", None, "public")), nova


@pytest.mark.parametrize(
    ("specs", "traits"),
    [
        ({"trait:COMPUTE_IMAGE_TYPE_QCOW2": "required", "trait:CUSTOM_OLD": "forbidden", "hw:cpu_policy": "shared"},
         {"COMPUTE_IMAGE_TYPE_QCOW2"}),
        ({}, set()),
        (None, set()),
    ],
)  # fmt: skip
def test_flavor_has_the_traits_that_it_requires(specs, traits):
    flavor = {"name": "m1.vm", "id": "f1", "vcpus": 2, "ram": 2048, "disk": 10}
    port, nova = instances(Answer(200, {"flavors": [{**flavor, **({} if specs is None else {"extra_specs": specs})}]}))
    [found] = port.flavors()
    assert (found.vcpus, found.memory, found.disk, found.traits) == (2, 2048, 10, traits)
    assert nova.requests[0][1]["microversion"] == "2.61"


def test_server_has_flavor_zone_and_addresses():
    port, nova = instances(Answer(200, {"servers": [row()]}))
    [server] = port.list("demo")
    assert (server.id, server.name, server.status) == ("s1", "demo-worker-0", "ACTIVE")
    assert (server.flavor, server.zone) == ("m1.node", "nova")
    assert server.addresses == (Address("fixed", "10.0.0.5"), Address("floating", "172.24.4.9"))
    assert len(nova.requests) == 1
    url, options = nova.requests[0]
    assert url.endswith("/servers/detail")
    assert options["params"] == {"name": "^demo-"}
    assert (options["microversion"], options["endpoint_filter"]["service_type"]) == ("2.47", "compute")


def test_cluster_with_same_prefix_is_excluded():
    port, _ = instances(Answer(200, {"servers": [row(), row("s2", "demo-two")]}))
    assert [server.id for server in port.list("demo")] == ["s1"]


def test_list_follows_pages():
    link = [{"rel": "next", "href": "http://nova/servers?marker=s1"}]
    first = Answer(200, {"servers": [row()], "servers_links": link})
    port, nova = instances(first, Answer(200, {"servers": [row("s2")]}))
    assert [server.id for server in port.list("demo")] == ["s1", "s2"]
    assert nova.requests[1][1]["params"] == [("marker", "s1")]


def test_server_without_network_has_no_address():
    port, _ = instances(Answer(200, {"server": row(status="BUILD", addresses={})}))
    server = port.get("s1")
    assert (server.status, server.addresses) == ("BUILD", ())


def test_missing_server_is_none_and_error_raises():
    missing = Answer(404, {"itemNotFound": {"message": "Server s1 could not be found.", "code": 404}})
    port, _ = instances(
        missing, Answer(503, {"error": {"message": "busy"}}), Answer(200, {"server": row(status="DELETED")})
    )
    assert port.get("s1") is None
    with pytest.raises(CloudUnreachable, match="Nova answered 503"):
        port.get("s1")
    assert port.get("s1") is None
