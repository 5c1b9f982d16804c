"""The driver under csi-sanity, over volumes in memory and over a real cloud's.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud of the tests' own. The node service
joins at `Bystander`; until then the suite's groups of the identity and the controller are run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

import sanity
from moorage.cloud.memory_volumes import MemoryVolumes
from moorage.cloud.openstack_volumes import OpenStackVolumes
from moorage.cloud.rest import Rest
from moorage.cloud.volumes import Volumes
from moorage.csi.cinder.backend import NAME, TOPOLOGY, CinderBackend
from moorage.csi.cinder.look import Settings
from moorage.csi.cinder.waiting import Patience
from moorage.csi.controller import Controller
from moorage.csi.identity import Identity
from moorage.csi.serve import serve
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from servers import deleted, made

pytestmark = [pytest.mark.contract, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]

CLUSTER = "csi-sanity"
# What the suite may leave out: calls that the driver does not promise.
NOT_PROMISED = {
    "ControllerGetVolumeHealth not supported",
    "ControllerListVolumeHealth not supported",
    "ControllerPublishVolume.readonly field not supported",
    "GroupControllerService not supported",
    "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported",
}


class Bystander(csi_pb2_grpc.NodeServicer):
    """A node at which nothing is ever published: it tells which it is, and has nothing to take back."""

    def __init__(self, id, zone, disks):
        self.id, self.zone, self.disks = id, zone, disks

    def NodeGetInfo(self, request, context):
        where = csi.Topology(segments={TOPOLOGY: self.zone})
        return csi.NodeGetInfoResponse(node_id=self.id, accessible_topology=where, max_volumes_per_node=self.disks)

    def NodeGetCapabilities(self, request, context):
        return csi.NodeGetCapabilitiesResponse()

    def NodeUnpublishVolume(self, request, context):
        return csi.NodeUnpublishVolumeResponse()


@dataclass
class Storage:
    """Volumes, a server to which they can be brought, and a type that they may be changed to."""

    volumes: Volumes
    server: str
    type: str
    patience: Patience = field(default_factory=Patience)
    disks: int = 0
    """As many volumes as the server can hold; 0: nobody knows."""


@pytest.fixture(params=["memory", "openstack"])
def storage(request) -> Iterator[Storage]:
    if request.param == "memory":
        yield Storage(MemoryVolumes(servers={"node-1"}), "node-1", "fast", Patience(first=0.001), disks=26)
        return
    rest = Rest.connect(request.getfixturevalue("cloud_entry"))
    server = made(rest)
    try:
        chosen = rest.get("block-storage", "/types/default")["volume_type"]["name"]
        yield Storage(OpenStackVolumes(rest), server, chosen)
    finally:
        deleted(rest, server)


@pytest.fixture
def socket(storage, tmp_path):
    backend = CinderBackend(storage.volumes, Settings(CLUSTER, patience=storage.patience))
    node = Bystander(storage.server, storage.volumes.zones()[0], storage.disks)

    def add(server):
        csi_pb2_grpc.add_IdentityServicer_to_server(Identity(NAME, "1", lambda: True), server)
        csi_pb2_grpc.add_ControllerServicer_to_server(Controller(backend, TOPOLOGY), server)
        csi_pb2_grpc.add_NodeServicer_to_server(node, server)

    server = serve(tmp_path / "csi.sock", add)
    yield tmp_path / "csi.sock"
    server.stop(0).wait(5)


def test_the_suite_passes_and_leaves_nothing(storage, socket, tmp_path):
    changes = tmp_path / "changes.yaml"
    changes.write_text(f"type: {storage.type}\n")
    passed, said = sanity.run(
        socket,
        tmp_path,
        "-ginkgo.v",
        "-ginkgo.skip=Node Service",
        *(["-csi.testnodevolumeattachlimit"] if storage.disks else []),
        f"-csi.testvolumemutableparameters={changes}",
    )
    assert passed, said
    assert int(re.search(r"Ran (\d+) of", said).group(1)) >= 60, said
    left_out = {reason.strip() for reason in re.findall(r"\[SKIPPED\] (.*not .*)", said)}
    assert left_out == NOT_PROMISED | ({"testnodevolumeattachlimit not enabled"} if not storage.disks else set())
    assert [volume.name for volume in storage.volumes.list() if CLUSTER in volume.metadata.values()] == []
    assert [snapshot.name for snapshot in storage.volumes.snapshots() if CLUSTER in snapshot.metadata.values()] == []
