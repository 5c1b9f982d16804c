"""CSI's node service on a host in memory: the kubelet's calls, in any order and repeated."""

from dataclasses import replace

import pytest

from moorage.csi.locks import CallInProgress
from moorage.csi.node.access import Incompatible
from moorage.csi.spec import csi_pb2 as csi
from moorage.host.filesystems import Damaged, InUse, Mounted
from moorage.host.memory_filesystems import MemoryFilesystems
from moorage.model.errors import Conflict, NotFound, TimedOut
from moorage.model.ownership import CINDER_ZONE
from node_service import MODE, Kubelet, capability, node_service, plug

pytestmark = pytest.mark.unit

GIB = 2**30
VOLUME = "0f0e0d0c-1111-2222-3333-444455556666"
BLOCK = capability(block=True)
READER = capability(mode=MODE.SINGLE_NODE_READER_ONLY)
SINGLE_POD = capability(mode=MODE.SINGLE_NODE_SINGLE_WRITER)


class NodeHost:
    """A node with one disk, `device`, that is volume VOLUME."""

    def __init__(self, folder):
        self.by_id, self.device = folder / "by-id", folder / "vdb"
        self.device.touch()
        plug(self.by_id, VOLUME, self.device)
        self.files = MemoryFilesystems()
        self.disk = self.files.add(self.device, GIB)
        self.node = node_service(self.files, self.by_id)
        self.kubelet = Kubelet(self.call, VOLUME, folder / "staging", folder / "pods")

    def call(self, name, request):
        return getattr(self.node, name)(request, None)

    def mounted(self, path):
        return self.files.mounted(path)


@pytest.fixture
def host(tmp_path):
    return NodeHost(tmp_path)


@pytest.fixture
def kubelet(host):
    return host.kubelet


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_stage_publish_unpublish_and_unstage_repeated_are_idempotent(host, kubelet, kind):
    requested = capability(kind)
    for _ in range(2):
        kubelet.stage(requested)
    for _ in range(2):
        kubelet.publish(requested)
    mount = Mounted(host.disk.number, kind)
    assert (host.mounted(kubelet.staging), host.mounted(kubelet.target())) == (mount, mount)
    for _ in range(2):
        kubelet.unpublish()
    assert kubelet.target() not in host.files.folders
    for _ in range(2):
        kubelet.unstage()
    assert host.files.targets(host.device) == []
    assert host.disk.signature == kind


def test_publish_block_volume_binds_device(host, kubelet):
    kubelet.stage(BLOCK)
    for _ in range(2):
        kubelet.publish(BLOCK)
    assert host.mounted(kubelet.target()) == Mounted(host.disk.number, "block")
    assert kubelet.target() in host.files.files
    assert host.disk.signature == ""
    kubelet.unpublish()
    kubelet.unstage()
    assert kubelet.target() not in host.files.files


def test_stage_without_type_uses_existing_or_ext4(host, kubelet):
    kubelet.stage(capability(""))
    assert host.disk.signature == "ext4"
    kubelet.unstage()
    host.disk.signature = "xfs"
    kubelet.stage(capability(""))
    assert host.mounted(kubelet.staging) == Mounted(host.disk.number, "xfs")


def test_stage_passes_mount_options_and_xfs_nouuid(host, kubelet):
    kubelet.stage(capability("xfs", flags=["noatime,nodiratime", "discard"]))
    assert host.files.mounts[kubelet.staging][0].options == ("noatime", "nodiratime", "discard", "nouuid")


def test_publish_read_only_beside_writable(host, kubelet):
    kubelet.stage()
    kubelet.publish()
    for _ in range(2):
        kubelet.publish(read_only=True, pod="reader")
    assert host.mounted(kubelet.target("reader")).read_only
    assert not host.mounted(kubelet.target()).read_only


@pytest.mark.parametrize("requested", [READER, capability(flags=["ro"])])
def test_stage_read_only_changes_nothing(host, kubelet, requested):
    host.disk.signature, host.disk.filled = "ext4", GIB // 2
    kubelet.stage(requested)
    kubelet.publish(requested)
    assert host.mounted(kubelet.staging).read_only
    assert host.mounted(kubelet.target()).read_only
    assert host.disk.filled == GIB // 2


def test_stage_blank_read_only_is_rejected(host, kubelet):
    with pytest.raises(Conflict, match="blank, and read-only access was requested"):
        kubelet.stage(READER)
    assert host.disk.signature == ""


def test_publish_block_read_only(host, kubelet):
    kubelet.publish(BLOCK, read_only=True)
    assert host.mounted(kubelet.target()).read_only


@pytest.mark.parametrize("signature", ["xfs", "LVM2_member", "gpt", "data", "swap"])
def test_stage_other_signature_is_rejected(host, kubelet, signature):
    host.disk.signature = signature
    with pytest.raises(Conflict, match=f"has {signature}, not ext4, and is not formatted"):
        kubelet.stage()
    assert host.disk.signature == signature
    assert host.mounted(kubelet.staging) is None


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_stage_damaged_file_system_is_reported(host, kubelet, kind):
    host.disk.signature, host.disk.damaged = kind, True
    with pytest.raises(Damaged) as caught:
        kubelet.stage(capability(kind))
    assert "fsck" in caught.value.hint
    assert host.disk.signature == kind
    host.disk.damaged = False
    kubelet.stage(capability(kind))
    assert host.mounted(kubelet.staging)


def test_stage_missing_device_leaves_nothing(host, kubelet):
    missing = replace(kubelet, volume="ffffffff-1111-2222-3333-444455556666")
    for call in (missing.stage, lambda: missing.stage(BLOCK), missing.publish):
        with pytest.raises(TimedOut, match="has not appeared on this node"):
            call()
    assert host.files.mounts == {}
    with pytest.raises(NotFound):
        missing.expand()


def test_stage_waits_for_device(host, kubelet, tmp_path):
    volume, device = "late", tmp_path / "vdc"
    device.touch()
    host.files.add(device, GIB)
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        if now[0] > 3 and not (host.by_id / "virtio-late").is_symlink():
            plug(host.by_id, volume, device)

    host.node.attacher = replace(host.node.attacher, timeout=10, clock=lambda: now[0], sleep=sleep)
    replace(kubelet, volume=volume).stage()
    assert host.disk.signature == ""
    assert host.files.disks[device].signature == "ext4"
    with pytest.raises(TimedOut):
        replace(kubelet, volume="never").stage()
    assert 13 < now[0] < 14


def test_unpublish_and_unstage_without_device(host, kubelet):
    kubelet.stage()
    kubelet.publish()
    (host.by_id / f"virtio-{VOLUME[:20]}").unlink()
    kubelet.unpublish()
    kubelet.unstage()
    assert host.files.targets(host.device) == []


def test_publish_unstaged_volume_is_rejected(host, kubelet):
    with pytest.raises(Conflict, match="is not mounted at"):
        kubelet.publish()
    assert kubelet.target() not in host.files.folders
    with pytest.raises(Conflict, match="none was given"):
        host.call(
            "NodePublishVolume",
            csi.NodePublishVolumeRequest(volume_id=VOLUME, target_path="/t", volume_capability=capability()),
        )


def test_stage_incompatible_mount_is_reported(host, kubelet):
    kubelet.stage()
    with pytest.raises(Incompatible, match="ext4, writable"):
        kubelet.stage(READER)
    with pytest.raises(Incompatible):
        kubelet.stage(capability("xfs"))
    kubelet.publish(read_only=True)
    with pytest.raises(Incompatible, match="read-only"):
        kubelet.publish()


def test_stage_over_other_volume_is_rejected(host, kubelet, tmp_path):
    device = tmp_path / "vdc"
    device.touch()
    host.files.add(device, GIB)
    plug(host.by_id, "other", device)
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
    assert host.files.disks[device].signature == ""


def test_publish_second_pod_of_single_pod_volume_is_rejected(host, kubelet):
    kubelet.stage(SINGLE_POD)
    for _ in range(2):
        kubelet.publish(SINGLE_POD)
    with pytest.raises(Conflict, match="for one pod"):
        kubelet.publish(SINGLE_POD, pod="pod-2")
    kubelet.unpublish()
    kubelet.publish(SINGLE_POD, pod="pod-2")


def test_publish_to_several_pods_of_node(host, kubelet):
    kubelet.stage()
    for pod in ("pod-1", "pod-2"):
        kubelet.publish(capability(mode=MODE.SINGLE_NODE_MULTI_WRITER), pod=pod)
    kubelet.unpublish("pod-1")
    assert host.mounted(kubelet.target("pod-2"))


def test_unpublish_in_use_fails(host, kubelet):
    kubelet.stage()
    kubelet.publish()
    host.files.open.add(kubelet.target())
    with pytest.raises(InUse):
        kubelet.unpublish()
    host.files.open.clear()
    kubelet.unpublish()
    kubelet.unstage()


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_expand_in_use(host, kubelet, kind):
    kubelet.stage(capability(kind))
    kubelet.publish(capability(kind))
    host.disk.size = 2 * GIB
    for _ in range(2):
        assert kubelet.expand(2 * GIB) == 2 * GIB
    assert host.disk.filled == 2 * GIB


def test_expand_block_volume_returns_size(host, kubelet):
    kubelet.publish(BLOCK)
    host.disk.size = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB
    assert kubelet.stats().usage[0].total == 2 * GIB


def test_expand_before_device_has_grown_times_out(host, kubelet):
    kubelet.stage()
    kubelet.publish()
    with pytest.raises(TimedOut, match="and not 2147483648 yet"):
        kubelet.expand(2 * GIB)
    host.disk.size = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB


def test_expand_ext4_at_next_stage_when_not_in_use(host, kubelet):
    host.files.grows_ext4 = False
    kubelet.stage()
    kubelet.publish()
    host.disk.size = 2 * GIB
    with pytest.raises(InUse, match="while it is in use"):
        kubelet.expand(2 * GIB)
    kubelet.stage()
    kubelet.unpublish()
    kubelet.unstage()
    kubelet.stage()
    assert host.disk.filled == 2 * GIB


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_stage_restored_volume_fills_disk(host, kubelet, kind):
    host.disk.signature, host.disk.filled = kind, GIB // 2
    kubelet.stage(capability(kind))
    assert host.disk.filled == GIB


def test_expand_read_only_at_writable_stage(host, kubelet):
    host.disk.signature, host.disk.filled = "ext4", GIB
    kubelet.stage(READER)
    kubelet.publish(READER)
    host.disk.size = 2 * GIB
    assert kubelet.expand(2 * GIB) == 2 * GIB
    assert host.disk.filled == GIB


def test_expand_beside_read_only_pod(host, kubelet):
    kubelet.stage()
    kubelet.publish(read_only=True)
    host.disk.size = 2 * GIB
    kubelet.expand(2 * GIB)
    assert host.disk.filled == 2 * GIB


def test_statistics_are_in_bytes_and_inodes(host, kubelet):
    kubelet.stage()
    kubelet.publish()
    usages = {usage.unit: usage for usage in kubelet.stats().usage}
    assert usages[csi.VolumeUsage.BYTES].total == GIB
    assert usages[csi.VolumeUsage.INODES].available == GIB // 16384
    assert not kubelet.stats().volume_condition.abnormal


def test_statistics_of_block_volume_are_its_size(host, kubelet):
    kubelet.publish(BLOCK)
    assert [(usage.unit, usage.total) for usage in kubelet.stats().usage] == [(csi.VolumeUsage.BYTES, GIB)]


def test_statistics_condition_has_reason(host, kubelet):
    kubelet.stage()
    kubelet.publish()
    host.disk.stopped = True
    condition = kubelet.stats().volume_condition
    assert condition.abnormal
    assert "stopped writing" in condition.message
    (host.by_id / f"virtio-{VOLUME[:20]}").unlink()
    assert "disappeared" in kubelet.stats().volume_condition.message


def test_statistics_of_missing_volume_is_not_found(host, kubelet):
    kubelet.stage()
    with pytest.raises(NotFound):
        kubelet.stats()


def test_node_info_has_zone_limit_and_capabilities(host):
    info = host.call("NodeGetInfo", csi.NodeGetInfoRequest())
    assert (info.node_id, info.max_volumes_per_node) == ("server-1", 25)
    assert dict(info.accessible_topology.segments) == {CINDER_ZONE: "nova"}
    rpc = csi.NodeServiceCapability.RPC
    response = host.call("NodeGetCapabilities", csi.NodeGetCapabilitiesRequest())
    capabilities = {row.rpc.type for row in response.capabilities}
    assert rpc.STAGE_UNSTAGE_VOLUME in capabilities
    assert rpc.VOLUME_MOUNT_GROUP not in capabilities


def test_node_info_without_zone(tmp_path):
    node = node_service(MemoryFilesystems(), tmp_path, zone="")
    assert not node.NodeGetInfo(csi.NodeGetInfoRequest(), None).HasField("accessible_topology")


def test_one_call_at_a_time_for_a_volume(host, kubelet):
    with host.node.locks.hold(VOLUME):
        for call in (kubelet.stage, kubelet.unstage, kubelet.publish, kubelet.unpublish, kubelet.expand):
            with pytest.raises(CallInProgress):
                call()
    kubelet.stage()
