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
def test_a_volume_goes_to_a_pod_and_back_each_call_made_twice(rig, kubelet, kind):
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


def test_a_block_volume_is_the_device_itself(rig, kubelet):
    kubelet.stage(BLOCK)
    for _ in range(2):
        kubelet.publish(BLOCK)
    assert rig.at(kubelet.target()) == Mounted(rig.disk.number, "block")
    assert kubelet.target() in rig.files.files
    assert rig.disk.signature == ""
    kubelet.unpublish()
    kubelet.unstage()
    assert kubelet.target() not in rig.files.files


def test_nothing_said_of_a_file_system_means_ext4_or_what_there_is(rig, kubelet):
    kubelet.stage(capability(""))
    assert rig.disk.signature == "ext4"
    kubelet.unstage()
    rig.disk.signature = "xfs"
    kubelet.stage(capability(""))
    assert rig.at(kubelet.staging) == Mounted(rig.disk.number, "xfs")


def test_mount_options_are_passed_and_an_xfs_may_have_its_sources_id(rig, kubelet):
    kubelet.stage(capability("xfs", flags=["noatime,nodiratime", "discard"]))
    assert rig.files.mounts[kubelet.staging][0].options == ("noatime", "nodiratime", "discard", "nouuid")


def test_a_pod_may_read_only_what_another_writes(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    for _ in range(2):
        kubelet.publish(read_only=True, pod="reader")
    assert rig.at(kubelet.target("reader")).read_only
    assert not rig.at(kubelet.target()).read_only


@pytest.mark.parametrize("wanted", [READER, capability(flags=["ro"])])
def test_a_volume_to_be_read_is_mounted_so_and_never_changed(rig, kubelet, wanted):
    rig.disk.signature, rig.disk.filled = "ext4", GIB // 2
    kubelet.stage(wanted)
    kubelet.publish(wanted)
    assert rig.at(kubelet.staging).read_only
    assert rig.at(kubelet.target()).read_only
    assert rig.disk.filled == GIB // 2


def test_a_blank_volume_to_be_read_is_not_formatted(rig, kubelet):
    with pytest.raises(Conflict, match="blank, and read-only access was requested"):
        kubelet.stage(READER)
    assert rig.disk.signature == ""


def test_a_block_volume_may_be_read_only(rig, kubelet):
    kubelet.publish(BLOCK, read_only=True)
    assert rig.at(kubelet.target()).read_only


@pytest.mark.parametrize("signature", ["xfs", "LVM2_member", "gpt", "data", "swap"])
def test_a_signature_of_another_kind_is_never_formatted(rig, kubelet, signature):
    rig.disk.signature = signature
    with pytest.raises(Conflict, match=f"has {signature}, not ext4, and is not formatted"):
        kubelet.stage()
    assert rig.disk.signature == signature
    assert rig.at(kubelet.staging) is None


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_damaged_file_system_is_told_and_not_formatted(rig, kubelet, kind):
    rig.disk.signature, rig.disk.damaged = kind, True
    with pytest.raises(Damaged) as told:
        kubelet.stage(capability(kind))
    assert "fsck" in told.value.hint
    assert rig.disk.signature == kind
    rig.disk.damaged = False
    kubelet.stage(capability(kind))
    assert rig.at(kubelet.staging)


def test_a_device_that_never_appears_is_told_and_nothing_is_left(rig, kubelet):
    missing = replace(kubelet, volume="ffffffff-1111-2222-3333-444455556666")
    for call in (missing.stage, lambda: missing.stage(BLOCK), missing.publish):
        with pytest.raises(TimedOut, match="has not appeared on this node"):
            call()
    assert rig.files.mounts == {}
    with pytest.raises(NotFound):
        missing.expand()


def test_a_device_that_appears_late_is_waited_for(rig, kubelet, tmp_path):
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


def test_unpublishing_and_unstaging_need_no_device(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    (rig.by_id / f"virtio-{VOLUME[:20]}").unlink()
    kubelet.unpublish()
    kubelet.unstage()
    assert rig.files.targets(rig.device) == []


def test_a_volume_that_is_not_staged_is_not_published(rig, kubelet):
    with pytest.raises(Conflict, match="is not mounted at"):
        kubelet.publish()
    assert kubelet.target() not in rig.files.folders
    with pytest.raises(Conflict, match="none was given"):
        rig.call(
            "NodePublishVolume",
            csi.NodePublishVolumeRequest(volume_id=VOLUME, target_path="/t", volume_capability=capability()),
        )


def test_what_is_there_in_another_way_is_told(rig, kubelet):
    kubelet.stage()
    with pytest.raises(Incompatible, match="ext4, writable"):
        kubelet.stage(READER)
    with pytest.raises(Incompatible):
        kubelet.stage(capability("xfs"))
    kubelet.publish(read_only=True)
    with pytest.raises(Incompatible, match="read-only"):
        kubelet.publish()


def test_another_volume_at_the_path_is_never_taken_for_this_one(rig, kubelet, tmp_path):
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


def test_a_volume_for_one_pod_has_no_second(rig, kubelet):
    kubelet.stage(ALONE)
    for _ in range(2):
        kubelet.publish(ALONE)
    with pytest.raises(Conflict, match="for one pod"):
        kubelet.publish(ALONE, pod="pod-2")
    kubelet.unpublish()
    kubelet.publish(ALONE, pod="pod-2")


def test_pods_of_one_node_may_share_a_volume(rig, kubelet):
    kubelet.stage()
    for pod in ("pod-1", "pod-2"):
        kubelet.publish(capability(mode=MODE.SINGLE_NODE_MULTI_WRITER), pod=pod)
    kubelet.unpublish("pod-1")
    assert rig.at(kubelet.target("pod-2"))


def test_files_in_use_are_not_pulled_away(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    rig.files.open.add(kubelet.target())
    with pytest.raises(InUse):
        kubelet.unpublish()
    rig.files.open.clear()
    kubelet.unpublish()
    kubelet.unstage()


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_volume_grows_in_use(rig, kubelet, kind):
    kubelet.stage(capability(kind))
    kubelet.publish(capability(kind))
    rig.disk.real = 2 * GIB
    for _ in range(2):
        assert kubelet.expand(2 * GIB) == 2 * GIB
    assert rig.disk.filled == 2 * GIB


def test_a_block_volume_tells_its_new_size(rig, kubelet):
    kubelet.publish(BLOCK)
    rig.disk.real = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB
    assert kubelet.stats().usage[0].total == 2 * GIB


def test_a_device_that_has_not_grown_yet_is_asked_again(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    with pytest.raises(TimedOut, match="and not 2147483648 yet"):
        kubelet.expand(2 * GIB)
    rig.disk.real = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB


def test_where_ext4_does_not_grow_in_use_it_grows_at_the_next_stage(rig, kubelet):
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
def test_a_restored_volume_fills_its_larger_disk(rig, kubelet, kind):
    rig.disk.signature, rig.disk.filled = kind, GIB // 2
    kubelet.stage(capability(kind))
    assert rig.disk.filled == GIB


def test_what_is_read_only_grows_when_it_is_staged_to_be_written(rig, kubelet):
    rig.disk.signature, rig.disk.filled = "ext4", GIB
    kubelet.stage(READER)
    kubelet.publish(READER)
    rig.disk.real = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB
    assert rig.disk.filled == GIB


def test_a_pod_that_only_reads_does_not_hinder_growing(rig, kubelet):
    kubelet.stage()
    kubelet.publish(read_only=True)
    rig.disk.real = 2 * GIB
    kubelet.expand(2 * GIB)
    assert rig.disk.filled == 2 * GIB


def test_statistics_are_in_bytes_and_inodes(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    told = {usage.unit: usage for usage in kubelet.stats().usage}
    assert told[csi.VolumeUsage.BYTES].total == GIB
    assert told[csi.VolumeUsage.INODES].available == GIB // 16384
    assert not kubelet.stats().volume_condition.abnormal


def test_a_block_volumes_statistics_are_its_size(rig, kubelet):
    kubelet.publish(BLOCK)
    assert [(usage.unit, usage.total) for usage in kubelet.stats().usage] == [(csi.VolumeUsage.BYTES, GIB)]


def test_the_condition_says_what_is_wrong(rig, kubelet):
    kubelet.stage()
    kubelet.publish()
    rig.disk.stopped = True
    told = kubelet.stats().volume_condition
    assert told.abnormal
    assert "stopped writing" in told.message
    (rig.by_id / f"virtio-{VOLUME[:20]}").unlink()
    assert "disappeared" in kubelet.stats().volume_condition.message


def test_statistics_of_what_is_not_there(rig, kubelet):
    kubelet.stage()
    with pytest.raises(NotFound):
        kubelet.stats()


def test_the_node_tells_its_place_limit_and_abilities(rig):
    info = rig.call("NodeGetInfo", csi.NodeGetInfoRequest())
    assert (info.node_id, info.max_volumes_per_node) == ("server-1", 25)
    assert dict(info.accessible_topology.segments) == {ZONE: "nova"}
    rpc = csi.NodeServiceCapability.RPC
    told = {row.rpc.type for row in rig.call("NodeGetCapabilities", csi.NodeGetCapabilitiesRequest()).capabilities}
    assert rpc.STAGE_UNSTAGE_VOLUME in told
    assert rpc.VOLUME_MOUNT_GROUP not in told


def test_a_node_without_a_zone_tells_none(tmp_path):
    node = Node(MemoryFilesystems(), "server-1", "", 25, tmp_path)
    assert not node.NodeGetInfo(csi.NodeGetInfoRequest(), None).HasField("accessible_topology")


def test_one_call_at_a_time_for_a_volume(rig, kubelet):
    with rig.node.locks.hold(VOLUME):
        for call in (kubelet.stage, kubelet.unstage, kubelet.publish, kubelet.unpublish, kubelet.expand):
            with pytest.raises(UnderWay):
                call()
    kubelet.stage()
