"""A worker's boot, step by step."""

from __future__ import annotations

from moorage.node import authority, join
from moorage.node.api import Api, Refused, Unreachable
from moorage.node.files import File, write
from moorage.node.node import Node, Step
from moorage.node.pki import Pair
from moorage.node.steps import (
    NODE_UNITS,
    answered,
    become_ready,
    bless_boot,
    configure,
    resolve,
    start_node,
    start_volumes,
)
from moorage.node.waiting import NotYet


def steps() -> tuple[Step, ...]:
    """In their order."""
    return (
        Step("waiting for the network", wait_for_network),
        Step("looking for the cluster", discover),
        Step("asking for a certificate", ask_certificate),
        Step("waiting for the API server", wait_for_api),
        Step("waiting for its name to be free", wait_for_name),
        Step("starting the node", start_node),
        Step("waiting for this node to be Ready", become_ready, NODE_UNITS),
        Step("ending the boot", end),
    )


def wait_for_network(node: Node) -> None:
    """DHCP gives this node's address; everything local is written then."""

    def look() -> str:
        address = node.machine.own_address(node.data.cluster.api_address)
        if address is None:
            raise NotYet("the network has not given this node an address")
        return address

    configure(node, node.deadline.until(look))


def end(node: Node) -> None:
    """What can wait: the image of DNS, should it ever run here; DNS servers that were told after the address."""
    resolve(node)
    bless_boot(node)
    node.machine.start("moorage-image@coredns")
    start_volumes(node)


def discover(node: Node) -> None:
    """Get the cluster's CA, proved by the token. Once it is known it stays: the token's time may be over."""
    if node.layout.ca.exists():
        return
    cluster = node.data.cluster
    api = Api(cluster.api_address, ca=None)

    def look() -> str:
        try:
            return join.proved_ca(api.get(join.CLUSTER_INFO), cluster)
        except Unreachable as error:
            raise NotYet(f"the API server cannot be reached: {error}") from error
        except Refused as error:
            raise NotYet(f"the API server has no cluster-info yet: {error}") from error

    ca = node.deadline.until(look)
    api.close()
    write(node.layout.ca, File(ca))


def wait_for_api(node: Node) -> None:
    """A kubelet that finds no API server tries again ever more seldom: better to start it once there is one."""
    api = node.api()
    answered(node, lambda: api.get_text("/healthz"))
    api.close()


def wait_for_name(node: Node) -> None:
    """Wait until the node of a former server of this name is gone, which is for the controller to delete.

    A kubelet takes over a node of its name that it finds, and makes none once that is deleted under it.
    """
    if not (node.data.cluster.cloud_provider and node.server.id):
        return
    api = node.api()

    def look() -> None:
        given = (api.find(f"/api/v1/nodes/{node.name}") or {}).get("spec", {}).get("providerID", "")
        if given and not given.endswith(f"/{node.server.id}"):
            raise NotYet(f"the cluster still has the node of a former server of this name: {given}")

    answered(node, look)
    api.close()


def ask_certificate(node: Node) -> None:
    """Get a certificate for this node's kubelet, if it has none that is still good."""
    if authority.has_kubelet_certificate(node.layout):
        return
    api = join.bootstrap_api(node.data.cluster, node.layout.ca.read_text())
    name, asked = answered(node, lambda: join.request_certificate(api, node.name))

    def look() -> str:
        try:
            return join.granted(api.get(f"{join.REQUESTS}/{name}"))
        except (Unreachable, Refused) as error:
            raise NotYet(f"the API server does not tell of this node's request: {error}") from error

    certificate = node.deadline.until(look)
    api.close()
    authority.keep_kubelet_certificate(node.layout, Pair(certificate, asked.key))
