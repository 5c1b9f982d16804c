"""CSI's Node service on a box in memory: what kubelet asks, in any order and more than once."""

from dataclasses import replace

import pytest

from moorage.csi.locks import UnderWay
from moorage.csi.node.access import Incompatible
from moorage.csi.node.answers import ZONE
from moorage.csi.node.service import Node
from moorage.csi.spec import csi_pb2 as csi
from moorage.host.filesystems import Damaged, InUse, Mounted
from moorage.host.memory_filesystems import MemoryFilesystems
from moorage.model.errors import Conflict, NotFound, TimedOut
from node_service import MODE, Kubelet, capability, plug

pytestmark = pytest.mark.unit

GIB = 2**30
VOLUME = "0f0e0d0c-1111-2222-3333-444455556666"
BLOCK = capability(block=True)
READER = capability(mode=MODE.SINGLE_NODE_READER_ONLY)
ALONE = capability(mode=MODE.SINGLE_NODE_SINGLE_WRITER)


class Rig:
    """A node with one disk, `device`, that is volume VOLUME."""

    def __init__(self, folder):
        self.by_id, self.device = folder / "by-id", folder / "vdb"
        self.device.touch()
        plug(self.by_id, VOLUME, self.device)
        self.files = MemoryFilesystems()
        self.disk = self.files.add(self.device, GIB)
        self.node = Node(self.files, "server-1", "nova", 25, self.by_id, timeouts=0)
        self.kubelet = Kubelet(self.call, VOLUME, folder / "staging", folder / "pods")

    def call(self, name, request):
        return getattr(self.node, name)(request, None)

    def at(self, path):
        return self.files.mounted(path)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


@pytest.fixture
def kubelet(rig):
    return rig.kubelet


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_stage_publish_and_back_each_call_twice(rig, kubelet, kind):
    wanted = capability(kind)
    for _ in range(2):
        kubelet.stage(wanted)
    for _ in range(2):
        kubelet.publish(wanted)
    here = Mounted(rig.disk.number, kind)
    assert (rig.at(kubelet.staging), rig.at(kubelet.target())) == (here, here)
    for _ in range(2):
        kubelet.unpublish()
    assert kubelet.target() not in rig.files.folders
    for _ in range(2):
        kubelet.unstage()
    assert rig.files.targets(rig.device) == []
    assert rig.disk.signature == kind


def test_publish_block_volume_is_the_device(rig, kubelet):
    kubelet.stage(BLOCK)
    for _ in range(2):
        kubelet.publish(BLOCK)
    assert rig.at(kubelet.target()) == Mounted(rig.disk.number, "block")
    assert kubelet.target() in rig.files.files
    assert rig.disk.signature == ""
    kubelet.unpublish()
    kubelet.unstage()
    assert kubelet.target() not in rig.files.files


def test_stage_without_type_uses_existing_or_ext4(rig, kubelet):
    kubelet.stage(capability(""))
    assert rig.disk.signature == "ext4"
    kubelet.unstage()
    rig.disk.signature = "xfs"
    kubelet.stage(capability(""))
    assert rig.at(kubelet.staging) == Mounted(rig.disk.number, "xfs")


def test_stage_passes_mount_options_and_xfs_nouuid(rig, kubelet):
    kubelet.stage(capability("xfs", flags=["noatime,nodiratime", "discard"]))
    assert rig.files.mounts[kubelet.staging][0].options == ("noatime", "nodiratime", "discard", "nouuid")


def test_publish_read_only_beside_writable(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    for _ in range(2):
        kubelet.publish(read_only=True, pod="reader")
    assert rig.at(kubelet.target("reader")).read_only
    assert not rig.at(kubelet.target()).read_only


@pytest.mark.parametrize("wanted", [READER, capability(flags=["ro"])])
def test_stage_read_only_changes_nothing(rig, kubelet, wanted):
    rig.disk.signature, rig.disk.filled = "ext4", GIB // 2
    kubelet.stage(wanted)
    kubelet.publish(wanted)
    assert rig.at(kubelet.staging).read_only
    assert rig.at(kubelet.target()).read_only
    assert rig.disk.filled == GIB // 2


def test_stage_blank_read_only_is_rejected(rig, kubelet):
    with pytest.raises(Conflict, match="blank, and read-only access was requested"):
        kubelet.stage(READER)
    assert rig.disk.signature == ""


def test_publish_block_read_only(rig, kubelet):
    kubelet.publish(BLOCK, read_only=True)
    assert rig.at(kubelet.target()).read_only


@pytest.mark.parametrize("signature", ["xfs", "LVM2_member", "gpt", "data", "swap"])
def test_stage_other_signature_is_rejected(rig, kubelet, signature):
    rig.disk.signature = signature
    with pytest.raises(Conflict, match=f"has {signature}, not ext4, and is not formatted"):
        kubelet.stage()
    assert rig.disk.signature == signature
    assert rig.at(kubelet.staging) is None


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_stage_damaged_file_system_is_reported(rig, kubelet, kind):
    rig.disk.signature, rig.disk.damaged = kind, True
    with pytest.raises(Damaged) as message:
        kubelet.stage(capability(kind))
    assert "fsck" in message.value.hint
    assert rig.disk.signature == kind
    rig.disk.damaged = False
    kubelet.stage(capability(kind))
    assert rig.at(kubelet.staging)


def test_stage_missing_device_leaves_nothing(rig, kubelet):
    missing = replace(kubelet, volume="ffffffff-1111-2222-3333-444455556666")
    for call in (missing.stage, lambda: missing.stage(BLOCK), missing.publish):
        with pytest.raises(TimedOut, match="has not appeared on this node"):
            call()
    assert rig.files.mounts == {}
    with pytest.raises(NotFound):
        missing.expand()


def test_stage_waits_for_device(rig, kubelet, tmp_path):
    volume, device = "late", tmp_path / "vdc"
    device.touch()
    rig.files.add(device, GIB)
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        if now[0] > 3 and not (rig.by_id / "virtio-late").is_symlink():
            plug(rig.by_id, volume, device)

    rig.node.devices = replace(rig.node.devices, timeouts=10, clock=lambda: now[0], sleep=sleep)
    replace(kubelet, volume=volume).stage()
    assert rig.disk.signature == ""
    assert rig.files.disks[device].signature == "ext4"
    with pytest.raises(TimedOut):
        replace(kubelet, volume="never").stage()
    assert 13 < now[0] < 14


def test_unpublish_and_unstage_without_device(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    (rig.by_id / f"virtio-{VOLUME[:20]}").unlink()
    kubelet.unpublish()
    kubelet.unstage()
    assert rig.files.targets(rig.device) == []


def test_publish_unstaged_volume_is_rejected(rig, kubelet):
    with pytest.raises(Conflict, match="is not mounted at"):
        kubelet.publish()
    assert kubelet.target() not in rig.files.folders
    with pytest.raises(Conflict, match="none was given"):
        rig.call(
            "NodePublishVolume",
            csi.NodePublishVolumeRequest(volume_id=VOLUME, target_path="/t", volume_capability=capability()),
        )


def test_stage_incompatible_mount_is_reported(rig, kubelet):
    kubelet.stage()
    with pytest.raises(Incompatible, match="ext4, writable"):
        kubelet.stage(READER)
    with pytest.raises(Incompatible):
        kubelet.stage(capability("xfs"))
    kubelet.publish(read_only=True)
    with pytest.raises(Incompatible, match="read-only"):
        kubelet.publish()


def test_stage_over_other_volume_is_rejected(rig, kubelet, tmp_path):
    device = tmp_path / "vdc"
    device.touch()
    rig.files.add(device, GIB)
    plug(rig.by_id, "other", device)
    other = replace(kubelet, volume="other")
    kubelet.stage()
    kubelet.publish()
    with pytest.raises(Conflict, match="another device"):
        other.stage()
    with pytest.raises(Conflict, match="is not mounted at"):
        other.publish()
    with pytest.raises(NotFound):
        other.stats()
    with pytest.raises(NotFound):
        other.expand()
    assert rig.files.disks[device].signature == ""


def test_publish_second_pod_of_single_pod_volume_is_rejected(rig, kubelet):
    kubelet.stage(ALONE)
    for _ in range(2):
        kubelet.publish(ALONE)
    with pytest.raises(Conflict, match="for one pod"):
        kubelet.publish(ALONE, pod="pod-2")
    kubelet.unpublish()
    kubelet.publish(ALONE, pod="pod-2")


def test_publish_to_several_pods_of_node(rig, kubelet):
    kubelet.stage()
    for pod in ("pod-1", "pod-2"):
        kubelet.publish(capability(mode=MODE.SINGLE_NODE_MULTI_WRITER), pod=pod)
    kubelet.unpublish("pod-1")
    assert rig.at(kubelet.target("pod-2"))


def test_unpublish_in_use_fails(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    rig.files.open.add(kubelet.target())
    with pytest.raises(InUse):
        kubelet.unpublish()
    rig.files.open.clear()
    kubelet.unpublish()
    kubelet.unstage()


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_expand_in_use(rig, kubelet, kind):
    kubelet.stage(capability(kind))
    kubelet.publish(capability(kind))
    rig.disk.real = 2 * GIB
    for _ in range(2):
        assert kubelet.expand(2 * GIB) == 2 * GIB
    assert rig.disk.filled == 2 * GIB


def test_expand_block_volume_returns_size(rig, kubelet):
    kubelet.publish(BLOCK)
    rig.disk.real = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB
    assert kubelet.stats().usage[0].total == 2 * GIB


def test_expand_before_device_has_grown_times_out(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    with pytest.raises(TimedOut, match="and not 2147483648 yet"):
        kubelet.expand(2 * GIB)
    rig.disk.real = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB


def test_expand_ext4_at_next_stage_when_not_in_use(rig, kubelet):
    rig.files.grows_ext4 = False
    kubelet.stage()
    kubelet.publish()
    rig.disk.real = 2 * GIB
    with pytest.raises(InUse, match="while it is in use"):
        kubelet.expand(2 * GIB)
    kubelet.stage()
    kubelet.unpublish()
    kubelet.unstage()
    kubelet.stage()
    assert rig.disk.filled == 2 * GIB


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_stage_restored_volume_fills_disk(rig, kubelet, kind):
    rig.disk.signature, rig.disk.filled = kind, GIB // 2
    kubelet.stage(capability(kind))
    assert rig.disk.filled == GIB


def test_expand_read_only_at_writable_stage(rig, kubelet):
    rig.disk.signature, rig.disk.filled = "ext4", GIB
    kubelet.stage(READER)
    kubelet.publish(READER)
    rig.disk.real = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB
    assert rig.disk.filled == GIB


def test_expand_beside_read_only_pod(rig, kubelet):
    kubelet.stage()
    kubelet.publish(read_only=True)
    rig.disk.real = 2 * GIB
    kubelet.expand(2 * GIB)
    assert rig.disk.filled == 2 * GIB


def test_statistics_are_in_bytes_and_inodes(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    message = {usage.unit: usage for usage in kubelet.stats().usage}
    assert message[csi.VolumeUsage.BYTES].total == GIB
    assert message[csi.VolumeUsage.INODES].available == GIB // 16384
    assert not kubelet.stats().volume_condition.abnormal


def test_statistics_of_block_volume_are_its_size(rig, kubelet):
    kubelet.publish(BLOCK)
    assert [(usage.unit, usage.total) for usage in kubelet.stats().usage] == [(csi.VolumeUsage.BYTES, GIB)]


def test_statistics_condition_has_reason(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    rig.disk.stopped = True
    message = kubelet.stats().volume_condition
    assert message.abnormal
    assert "stopped writing" in message.message
    (rig.by_id / f"virtio-{VOLUME[:20]}").unlink()
    assert "disappeared" in kubelet.stats().volume_condition.message


def test_statistics_of_missing_volume_is_not_found(rig, kubelet):
    kubelet.stage()
    with pytest.raises(NotFound):
        kubelet.stats()


def test_node_info_has_zone_limit_and_capabilities(rig):
    info = rig.call("NodeGetInfo", csi.NodeGetInfoRequest())
    assert (info.node_id, info.max_volumes_per_node) == ("server-1", 25)
    assert dict(info.accessible_topology.segments) == {ZONE: "nova"}
    rpc = csi.NodeServiceCapability.RPC
    message = {row.rpc.type for row in rig.call("NodeGetCapabilities", csi.NodeGetCapabilitiesRequest()).capabilities}
    assert rpc.STAGE_UNSTAGE_VOLUME in message
    assert rpc.VOLUME_MOUNT_GROUP not in message


def test_node_info_without_zone(tmp_path):
    node = Node(MemoryFilesystems(), "server-1", "", 25, tmp_path)
    assert not node.NodeGetInfo(csi.NodeGetInfoRequest(), None).HasField("accessible_topology")


def test_one_call_at_a_time_for_a_volume(rig, kubelet):
    with rig.node.locks.hold(VOLUME):
        for call in (kubelet.stage, kubelet.unstage, kubelet.publish, kubelet.unpublish, kubelet.expand):
            with pytest.raises(UnderWay):
                call()
    kubelet.stage()
