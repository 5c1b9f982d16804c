"""The steps of the control plane's boot."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from moorage.model import join_token
from moorage.node import authority, configuration, objects, store
from moorage.node.api import Object, Refused, Unreachable
from moorage.node.files import File, write, write_all
from moorage.node.node import Node, Step
from moorage.node.steps import (
    NETWORK_UNITS,
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

ADMINISTRATORS = "moorage:admins"
CONTROL_PLANE_UNITS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
VOLUME_UNITS = (
    "moorage-csi-controller",
    "csi-provisioner",
    "csi-attacher",
    "csi-resizer",
    "csi-snapshotter",
    "snapshot-controller",
)
CONNECTIONS = 4
"""Concurrent connections to the API server for applying objects."""


def steps() -> tuple[Step, ...]:
    """In an order that overlaps what can overlap, so that two cores are always busy."""
    api, units = CONTROL_PLANE_UNITS[:2], CONTROL_PLANE_UNITS
    return (
        Step("waiting for the clock", wait_for_clock),
        Step("starting etcd", start_etcd),
        Step("creating the cluster's certificates", certify),
        Step("starting the API server", start_api),
        Step("writing the configuration", write_configuration),
        Step("waiting for the API server", wait_for_api, api),
        Step("waiting for this node's address", wait_for_address),
        Step("starting the node", start_node),
        Step("granting access to nodes and users", grant_access, api),
        Step("starting the controllers", start_controllers, api),
        Step("starting DNS", start_dns, units),
        Step("waiting for this node to be Ready", become_ready, (*units, "containerd", "kubelet", "flanneld")),
        Step("labeling this node as control plane", mark, api),
        Step("starting the volume driver", serve_volumes, api),
        Step("completing the boot", bless_boot),
    )


def afterwards() -> tuple[Step, ...]:
    """Steps after the signal to the stack, which nothing waits for."""
    api = CONTROL_PLANE_UNITS[:2]
    return (Step("enabling snapshots", class_snapshots, api), Step("reporting the image", report_image, api))


def start_etcd(node: Node) -> None:
    """A new cluster's store begins with what every API server writes first."""
    store.plant(node.layout)
    node.machine.start("etcd", "moorage-image@coredns")


def certify(node: Node) -> None:
    authority.make(node.layout, node.data.cluster, node.name)


def start_api(node: Node) -> None:
    write_all(configuration.environment(node.layout, node.data))
    node.machine.start("kube-apiserver")


def write_configuration(node: Node) -> None:
    write_all(configuration.control_plane(node.layout, node.data.cluster))
    # At the first boot only: a credential that was replaced later is kept.
    if node.data.cloud and not node.layout.clouds.exists():
        write(node.layout.clouds, configuration.clouds(node.data.cloud))
    configure(node, node.data.cluster.api_address)


def wait_for_api(node: Node) -> None:
    """Until it answers; its own objects need not all exist yet."""
    api = node.admin_api()
    answered(node, lambda: api.get("/api/v1/nodes?limit=1"))
    api.close()


def grant_access(node: Node) -> None:
    """Access rules, the join token (at the first boot only: an expired one is not renewed), cluster-info."""
    _apply(node, objects.namespaces())
    _apply(node, objects.access())
    _apply(node, objects.controller())
    ca = node.layout.ca.read_text()
    first = node.layout.state / "token-given"
    if first.exists():
        return
    cluster, now = node.data.cluster, datetime.datetime.now(datetime.UTC)
    _apply(node, [join_token.secret(cluster.bootstrap_token, now), objects.cluster_info(cluster, ca)])
    write(first, File(f"{now:%Y-%m-%dT%H:%M:%SZ}\n"))


def start_controllers(node: Node) -> None:
    """Once the API server has its own roles: before that it would reject the controllers, which would start over."""
    api = node.admin_api()

    def attempt() -> None:
        try:
            api.get_text("/healthz")
        except (Unreachable, Refused) as error:
            raise NotYet(f"the API server is not healthy: {error}") from error

    node.deadline.until(attempt)
    api.close()
    node.machine.start(*CONTROL_PLANE_UNITS[2:], *NETWORK_UNITS, "moorage-controller")
    if node.data.cluster.cloud_provider:
        node.machine.start("moorage-credential.path")


def wait_for_address(node: Node) -> None:
    """DHCP assigns the address of the server's port, which the stack has published."""
    address = node.data.cluster.api_address

    def attempt() -> None:
        if not node.machine.has_address(address):
            raise NotYet(f"the network has not assigned the address {address} to this node")

    node.deadline.until(attempt)


def start_dns(node: Node) -> None:
    _apply(node, objects.dns(node.data.cluster, forwards=resolve(node)))


def mark(node: Node) -> None:
    """A kubelet may not set its node's role label."""
    _apply(node, [objects.control_plane_label(node.name)])


def serve_volumes(node: Node) -> None:
    """The driver and Kubernetes' sidecars for it. They wait for their dependencies."""
    if not node.data.cluster.cloud_provider:
        return
    _apply(node, [*objects.volumes(), *objects.snapshot_definitions(node.layout)])
    node.machine.start(*VOLUME_UNITS)
    start_volumes(node)


def class_snapshots(node: Node) -> None:
    """The default class; at the first boot only, because users may change it."""
    first = node.layout.state / "snapshots-classed"
    if not node.data.cluster.cloud_provider or first.exists():
        return
    _apply(node, [objects.snapshot_class()])
    write(first, File(""))


def results(node: Node) -> dict[str, str]:
    """The results for the stack, all of them public: the CA, and the requested certificate."""
    signer = authority.make(node.layout, node.data.cluster, node.name)
    certificate = node.data.client_csr and signer.sign_client(node.data.client_csr, ADMINISTRATORS)
    return {"ca": signer.pair.certificate, "client_certificate": certificate}


def _apply(node: Node, wanted: Sequence[Object]) -> None:
    """Several at a time: the store's disk can take several writes at once."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda part: _apply_in_turn(node, part), [wanted[i::CONNECTIONS] for i in range(CONNECTIONS)]))


def _apply_in_turn(node: Node, wanted: Sequence[Object]) -> None:
    api = node.admin_api()
    for each in wanted:
        answered(node, partial(api.ensure, each))
    api.close()
