"""The steps of a worker's boot."""

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
    report_image,
    resolve,
    start_node,
    start_volumes,
    wait_for_clock,
)
from moorage.node.waiting import NotYet


def steps() -> tuple[Step, ...]:
    """In this order."""
    return (
        Step("waiting for the network", wait_for_network),
        Step("waiting for the clock", wait_for_clock),
        Step("finding the cluster", discover),
        Step("requesting a certificate", get_certificate),
        Step("waiting for the API server", wait_for_api),
        Step("waiting for its name to be free", wait_for_name),
        Step("starting the node", start_node),
        Step("waiting for this node to be Ready", become_ready, NODE_UNITS),
        Step("completing the boot", end),
    )


def afterwards() -> tuple[Step, ...]:
    """Steps after the signal to the stack, which nothing waits for."""
    return (Step("reporting the image", report_image),)


def wait_for_network(node: Node) -> None:
    """DHCP assigns this node's address; then all local files are written."""

    def attempt() -> str:
        address = node.machine.own_address(node.data.cluster.api_address)
        if address is None:
            raise NotYet("the network has not assigned an address to this node")
        return address

    configure(node, node.deadline.until(attempt))


def end(node: Node) -> None:
    """What can wait: the image of DNS, which may run here later; DNS servers that were assigned after the address."""
    resolve(node)
    bless_boot(node)
    node.machine.start("moorage-image@coredns")
    start_volumes(node)


def discover(node: Node) -> None:
    """Get the cluster's CA, verified with the token. A known one is kept, because the token may have expired."""
    if node.layout.ca.exists():
        return
    cluster = node.data.cluster
    api = Api(cluster.api_address, ca=None)

    def attempt() -> str:
        try:
            return join.proved_ca(api.get(join.CLUSTER_INFO), cluster)
        except Unreachable as error:
            raise NotYet(f"the API server cannot be reached: {error}") from error
        except Refused as error:
            raise NotYet(f"the API server has no cluster-info yet: {error}") from error

    ca = node.deadline.until(attempt)
    api.close()
    write(node.layout.ca, File(ca))


def wait_for_api(node: Node) -> None:
    """A kubelet without an API server retries at growing intervals, so it is started once there is one."""
    api = node.api()
    answered(node, lambda: api.get_text("/healthz"))
    api.close()


def wait_for_name(node: Node) -> None:
    """Wait until the controller has deleted the Node of a former server of this name.

    A kubelet takes over an existing Node of its name, and creates none when that is deleted later.
    """
    if not (node.data.cluster.cloud_provider and node.server.id):
        return
    api = node.api()

    def attempt() -> None:
        given = (api.find(f"/api/v1/nodes/{node.name}") or {}).get("spec", {}).get("providerID", "")
        if given and not given.endswith(f"/{node.server.id}"):
            raise NotYet(f"the cluster still has the Node of a former server of this name: {given}")

    answered(node, attempt)
    api.close()


def get_certificate(node: Node) -> None:
    """Get a certificate for this node's kubelet, if it has no valid one."""
    if authority.has_kubelet_certificate(node.layout):
        return
    api = join.bootstrap_api(node.data.cluster, node.layout.ca.read_text())
    name, asked = answered(node, lambda: join.request_certificate(api, node.name))

    def attempt() -> str:
        try:
            return join.granted(api.get(f"{join.REQUESTS}/{name}"))
        except (Unreachable, Refused) as error:
            raise NotYet(f"the API server does not return this node's request: {error}") from error

    certificate = node.deadline.until(attempt)
    api.close()
    authority.keep_kubelet_certificate(node.layout, Pair(certificate, asked.key))
