"""Invalid requests to the node service are rejected before anything changes."""

import pytest

from moorage.csi.node.access import parse_access
from moorage.csi.spec import csi_pb2 as csi
from moorage.host.memory_filesystems import MemoryFilesystems
from moorage.model.errors import BadInput
from node_service import MODE, capability, node_service

pytestmark = pytest.mark.unit

COMPLETE = {
    "NodeStageVolume": csi.NodeStageVolumeRequest(
        volume_id="v", staging_target_path="/s", volume_capability=capability()
    ),
    "NodeUnstageVolume": csi.NodeUnstageVolumeRequest(volume_id="v", staging_target_path="/s"),
    "NodePublishVolume": csi.NodePublishVolumeRequest(
        volume_id="v", staging_target_path="/s", target_path="/t", volume_capability=capability()
    ),
    "NodeUnpublishVolume": csi.NodeUnpublishVolumeRequest(volume_id="v", target_path="/t"),
    "NodeGetVolumeStats": csi.NodeGetVolumeStatsRequest(volume_id="v", volume_path="/t"),
    "NodeExpandVolume": csi.NodeExpandVolumeRequest(volume_id="v", volume_path="/t"),
}
REQUIRED = {"volume_id", "target_path", "volume_capability", "volume_path"}
MISSING_FIELDS = [
    (name, field.name)
    for name, request in COMPLETE.items()
    for field, _ in request.ListFields()
    if field.name in REQUIRED or (field.name == "staging_target_path" and "Stage" in name)
]


@pytest.mark.parametrize(("name", "field"), MISSING_FIELDS)
def test_missing_field_is_reported(tmp_path, name, field):
    files = MemoryFilesystems()
    request = type(COMPLETE[name])()
    request.CopyFrom(COMPLETE[name])
    request.ClearField(field)
    with pytest.raises(BadInput):
        getattr(node_service(files, tmp_path), name)(request, None)
    assert files == MemoryFilesystems()


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (capability(mode=MODE.UNKNOWN), "no access mode"),
        (csi.VolumeCapability(access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER)), "no access type: block or mount"),
        (capability("btrfs"), "file system 'btrfs' is not supported; supported: ext4, xfs"),
        (capability(mode=MODE.MULTI_NODE_MULTI_WRITER), "several nodes"),
        (capability(mode=MODE.MULTI_NODE_SINGLE_WRITER), "several nodes"),
    ],
)
def test_unsupported_access_is_rejected(requested, message):
    with pytest.raises(BadInput, match=message):
        parse_access(requested)


def test_volume_mount_group_is_rejected():
    requested = capability()
    requested.mount.volume_mount_group = "1000"
    with pytest.raises(BadInput, match="the kubelet sets"):
        parse_access(requested)


def test_block_access_by_several_nodes_is_accepted():
    assert parse_access(capability(mode=MODE.MULTI_NODE_MULTI_WRITER, block=True)).block


@pytest.mark.parametrize("volume", ["../../etc/passwd", "a" * 5000, "v\x00v", " "])
def test_unknown_handle_is_not_found(tmp_path, volume):
    node = node_service(MemoryFilesystems(), tmp_path)
    assert node.attacher.find(volume) is None
