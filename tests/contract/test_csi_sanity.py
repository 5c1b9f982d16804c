"""The driver under csi-sanity: its controller over volumes in memory, and all of it over a real cloud's.

MOORAGE_TEST_CLOUD names an entry of clouds.yaml to use instead of a local cloud of the tests' own. The node service
runs in the server to which volumes are brought. Where that is not on this box, or is nothing at all, a `Bystander`
takes its place, and the suite's groups of the identity and the controller are run.
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
from moorage.cloud.memory_volumes import MemoryVolumes
from moorage.cloud.openstack_volumes import OpenStackVolumes
from moorage.cloud.rest import Rest
from moorage.cloud.volumes import Volumes
from moorage.config import Paths
from moorage.csi.cinder.backend import NAME, TOPOLOGY, CinderBackend
from moorage.csi.cinder.reader import Settings
from moorage.csi.cinder.waiter import Timeouts
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
# What the suite may leave out: calls that the driver does not promise.
NOT_PROMISED = {
    "ControllerGetVolumeHealth not supported",
    "ControllerListVolumeHealth not supported",
    "ControllerPublishVolume.readonly field not supported",
    "GroupControllerService not supported",
    "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported",
}
NOT_PROMISED_BY_NODES = {"NodeGetStorageHealth not supported", "NodeGetVolumeHealth not supported"}
# Tests to skip when the number of volumes that the server can have is unknown.
NOT_ASKED = {"testnodevolumeattachlimit not enabled"}


class Bystander(csi_pb2_grpc.NodeServicer):
    """A node without published volumes: it returns its id, and has nothing to unpublish."""

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
    timeouts: Timeouts = field(default_factory=Timeouts)
    inside: Inside | None = None
    """The server, where one can look into it."""
    disks: int = 0
    """The number of volumes that the server can have; 0 when unknown."""

    @property
    def settings(self) -> Settings:
        return Settings(CLUSTER, timeouts=self.timeouts)

    @property
    def zone(self) -> str:
        return self.volumes.zones()[0]

    def changes(self, folder: Path) -> str:
        (folder / "changes.yaml").write_text(f"type: {self.type}\n")
        return "changes.yaml"


@pytest.fixture(params=["memory", "openstack"])
def storage(request) -> Iterator[Storage]:
    if request.param == "memory":
        yield Storage(MemoryVolumes(servers={"node-1"}), "node-1", "fast", Timeouts(first=0.001), disks=26)
        return
    rest = Rest.connect(request.getfixturevalue("cloud_entry"))
    own = "MOORAGE_TEST_CLOUD" not in os.environ
    state = request.getfixturevalue("home").state if own else Paths.from_environment(os.environ).state
    server = create_server(rest)
    try:
        chosen = rest.get("block-storage", "/types/default")["volume_type"]["name"]
        yield Storage(OpenStackVolumes(rest), server, chosen, inside=Inside.of(state, server))
    finally:
        delete_server(rest, server)


@contextmanager
def beside(storage: Storage, folder: Path) -> Iterator[Suite]:
    """The suite here, and the driver with a bystander for a node."""
    node = Bystander(storage.server, storage.zone, storage.disks)

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
        f"-csi.testvolumemutableparameters={folder / storage.changes(folder)}",
    )
    try:
        yield Suite(program(), folder / "csi.sock", folder, flags=flags)
    finally:
        server.stop(0).wait(5)


@contextmanager
def within(storage: Storage, inside: Inside) -> Iterator[Suite]:
    """The suite in the server, and there the driver's node as its own unit starts it. The controller is here."""
    inside.boot()
    own = inside.path(FOLDER)
    own.mkdir()
    shutil.copy(program(), own)
    controller = start(storage.volumes, storage.settings, own / "controller.sock")
    try:
        flags = ("-csi.testnodevolumeattachlimit", f"-csi.testvolumemutableparameters={FOLDER / storage.changes(own)}")
        socket = node_service(storage, inside)
        yield Suite(FOLDER / program().name, socket, FOLDER, FOLDER / "controller.sock", flags, inside.enter)
    finally:
        controller.stop(0).wait(5)


def node_service(storage: Storage, inside: Inside) -> Path:
    """Start it as `moorage-node` does; its socket."""
    settings = inside.path(Path("/etc/moorage/node.env"))
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"SERVER_ID={storage.server}\nSERVER_ZONE={storage.zone}\n")
    inside.run("systemctl", "start", "moorage-csi-node")
    socket = Sockets.below(ROOT, NAME).driver
    until(inside.path(socket).exists, seconds=30, why=lambda: said_by_the_node(inside))
    return socket


def said_by_the_node(inside: Inside) -> str:
    return inside.run("journalctl", "--unit=moorage-csi-node", "--output=cat", "--no-pager")


def test_csi_sanity_passes_and_leaves_nothing(storage, tmp_path, caplog):
    inside = storage.inside
    with within(storage, inside) if inside else beside(storage, tmp_path) as suite:
        passed, reported = suite.run()
        assert passed, reported + (said_by_the_node(inside) if inside else "")
        assert not inside or left_inside(inside) == []
    left_out = set(re.findall(r"^ *\[SKIPPED\] (?!in \[)(.*\S)", reported, re.MULTILINE))
    assert left_out == NOT_PROMISED | (NOT_PROMISED_BY_NODES if inside else set() if storage.disks else NOT_ASKED)
    assert int(re.search(r"Ran (\d+) of", reported).group(1)) >= (88 if inside else 60), reported
    assert "ControllerPublishVolume: RESOURCE_EXHAUSTED" in caplog.text or left_out >= NOT_ASKED
    assert [volume.name for volume in storage.volumes.list() if CLUSTER in volume.metadata.values()] == []
    assert [snapshot.name for snapshot in storage.volumes.snapshots() if CLUSTER in snapshot.metadata.values()] == []


def left_inside(inside: Inside) -> list[str]:
    """What of the suite's volumes is still to be seen in the server."""
    mounts = Path(f"/proc/{inside.pid}/mountinfo").read_text().splitlines()
    disks = inside.path(Path("/dev/disk/by-id")).glob("virtio-*")
    return [*(line for line in mounts if str(FOLDER) in line), *map(str, disks)]
