"""The driver under csi-sanity: its controller with volumes in memory, and the whole driver with those of a real cloud.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of the tests' own local cloud. The node service runs in
the server to which volumes are attached. If that server is not on this host, or does not exist, `NodeWithoutVolumes`
replaces the node service, and only the suite's tests of the identity and the controller run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inside import Inside
from moorage.cloud.memory.volumes import MemoryVolumes
from moorage.cloud.openstack.rest import Rest
from moorage.cloud.openstack.volumes import OpenStackVolumes
from moorage.cloud.port.volumes import Volumes
from moorage.config import Paths
from moorage.csi.cinder.backend import NAME, TOPOLOGY, CinderBackend
from moorage.csi.cinder.reader import Settings, Timeouts
from moorage.csi.controller import Controller
from moorage.csi.identity import Identity
from moorage.csi.main import start
from moorage.csi.node.main import ROOT
from moorage.csi.node.registration import Sockets
from moorage.csi.serve import serve
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc
from sanity import Suite, program
from servers import create_server, delete_server
from waiting import until

pytestmark = [pytest.mark.contract, pytest.mark.cloud, pytest.mark.filterwarnings("ignore:Support for InfluxDB")]

CLUSTER = "csi-sanity"
FOLDER = Path("/var/lib/csi-sanity")  # in a server
# Tests that the suite may skip: calls that the driver does not support.
UNSUPPORTED = {
    "ControllerGetVolumeHealth not supported",
    "ControllerListVolumeHealth not supported",
    "ControllerPublishVolume.readonly field not supported",
    "GroupControllerService not supported",
    "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported",
}
UNSUPPORTED_BY_NODES = {"NodeGetStorageHealth not supported", "NodeGetVolumeHealth not supported"}
# Tests to skip when the number of volumes that the server can have is unknown.
SKIPPED_WITHOUT_LIMIT = {"testnodevolumeattachlimit not enabled"}


class NodeWithoutVolumes(csi_pb2_grpc.NodeServicer):
    """A node without published volumes: it returns its id, and has nothing to unpublish."""

    def __init__(self, id, zone, disks):
        self.id, self.zone, self.disks = id, zone, disks

    def NodeGetInfo(self, request, context):
        topology = csi.Topology(segments={TOPOLOGY: self.zone})
        return csi.NodeGetInfoResponse(node_id=self.id, accessible_topology=topology, max_volumes_per_node=self.disks)

    def NodeGetCapabilities(self, request, context):
        return csi.NodeGetCapabilitiesResponse()

    def NodeUnpublishVolume(self, request, context):
        return csi.NodeUnpublishVolumeResponse()


@dataclass
class Storage:
    """Volumes, a server to which they can be attached, and a type to which they can be changed."""

    volumes: Volumes
    server: str
    type: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    inside: Inside | None = None
    """Access to the server, if it runs on this host."""
    disks: int = 0
    """The number of volumes that the server can have; 0 when unknown."""

    @property
    def settings(self) -> Settings:
        return Settings(CLUSTER, timeouts=self.timeouts)

    @property
    def zone(self) -> str:
        return self.volumes.zones()[0]

    def write_mutable_parameters(self, folder: Path) -> str:
        (folder / "changes.yaml").write_text(f"type: {self.type}\n")
        return "changes.yaml"


@pytest.fixture(params=["memory", "openstack"])
def storage(request) -> Iterator[Storage]:
    if request.param == "memory":
        yield Storage(MemoryVolumes(servers={"node-1"}), "node-1", "fast", Timeouts(first=0.001), disks=26)
        return
    rest = Rest.connect(request.getfixturevalue("cloud_entry"))
    starts_cloud = "MOORAGE_TEST_CLOUD" not in os.environ
    state = request.getfixturevalue("home").state if starts_cloud else Paths.from_environment(os.environ).state
    server = create_server(rest)
    try:
        default_type = rest.get("block-storage", "/types/default")["volume_type"]["name"]
        yield Storage(OpenStackVolumes(rest), server, default_type, inside=Inside.of(state, server))
    finally:
        delete_server(rest, server)


@contextmanager
def suite_on_this_host(storage: Storage, folder: Path) -> Iterator[Suite]:
    """Run the suite and the driver on this host, with a node without volumes."""
    node = NodeWithoutVolumes(storage.server, storage.zone, storage.disks)

    def add(server):
        csi_pb2_grpc.add_IdentityServicer_to_server(Identity(NAME, "1", lambda: True), server)
        csi_pb2_grpc.add_ControllerServicer_to_server(
            Controller(CinderBackend(storage.volumes, storage.settings), TOPOLOGY), server
        )
        csi_pb2_grpc.add_NodeServicer_to_server(node, server)

    server = serve(folder / "csi.sock", add)
    flags = (
        "-ginkgo.skip=Node Service",
        *(["-csi.testnodevolumeattachlimit"] if storage.disks else []),
        f"-csi.testvolumemutableparameters={folder / storage.write_mutable_parameters(folder)}",
    )
    try:
        yield Suite(program(), folder / "csi.sock", folder, flags=flags)
    finally:
        server.stop(0).wait(5)


@contextmanager
def suite_in_server(storage: Storage, inside: Inside) -> Iterator[Suite]:
    """Run the suite and the driver's node unit in the server, and the controller on this host."""
    inside.boot()
    folder = inside.path(FOLDER)
    folder.mkdir()
    shutil.copy(program(), folder)
    controller = start(storage.volumes, storage.settings, folder / "controller.sock")
    try:
        flags = (
            "-csi.testnodevolumeattachlimit",
            f"-csi.testvolumemutableparameters={FOLDER / storage.write_mutable_parameters(folder)}",
        )
        socket = start_node_service(storage, inside)
        yield Suite(FOLDER / program().name, socket, FOLDER, FOLDER / "controller.sock", flags, inside.enter)
    finally:
        controller.stop(0).wait(5)


def start_node_service(storage: Storage, inside: Inside) -> Path:
    """Start the node service as `moorage-node` does; returns its socket."""
    settings = inside.path(Path("/etc/moorage/node.env"))
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"SERVER_ID={storage.server}\nSERVER_ZONE={storage.zone}\n")
    inside.run("systemctl", "start", "moorage-csi-node")
    socket = Sockets.below(ROOT, NAME).driver
    until(inside.path(socket).exists, seconds=30, why=lambda: node_log(inside))
    return socket


def node_log(inside: Inside) -> str:
    return inside.run("journalctl", "--unit=moorage-csi-node", "--output=cat", "--no-pager")


def test_csi_sanity_passes_and_leaves_no_volumes(storage, tmp_path, caplog):
    inside = storage.inside
    with suite_in_server(storage, inside) if inside else suite_on_this_host(storage, tmp_path) as suite:
        passed, output = suite.run()
        assert passed, output + (node_log(inside) if inside else "")
        assert not inside or remaining_in_server(inside) == []
    skipped = set(re.findall(r"^ *\[SKIPPED\] (?!in \[)(.*\S)", output, re.MULTILINE))
    assert skipped == UNSUPPORTED | (
        UNSUPPORTED_BY_NODES if inside else set() if storage.disks else SKIPPED_WITHOUT_LIMIT
    )
    assert int(re.search(r"Ran (\d+) of", output).group(1)) >= (88 if inside else 60), output
    assert "ControllerPublishVolume: RESOURCE_EXHAUSTED" in caplog.text or skipped >= SKIPPED_WITHOUT_LIMIT
    assert [volume.name for volume in storage.volumes.list() if CLUSTER in volume.metadata.values()] == []
    assert [snapshot.name for snapshot in storage.volumes.snapshots() if CLUSTER in snapshot.metadata.values()] == []


def remaining_in_server(inside: Inside) -> list[str]:
    """The mounts and disks of the suite's volumes that remain in the server."""
    mounts = Path(f"/proc/{inside.pid}/mountinfo").read_text().splitlines()
    disks = inside.path(Path("/dev/disk/by-id")).glob("virtio-*")
    return [*(line for line in mounts if str(FOLDER) in line), *map(str, disks)]
