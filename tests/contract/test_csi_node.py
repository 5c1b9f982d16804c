"""`moorage-csi-node`, called over its socket as the kubelet calls it, with loop devices for disks.

It runs in a mount namespace that a sleeping process keeps open, so that mounts outlive the program as on a node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

import grpc
import pytest

from disks import LoopDisks
from moorage.csi.node.registration import Sockets
from moorage.csi.spec import csi_pb2 as csi
from moorage.csi.spec import csi_pb2_grpc, pluginregistration_pb2_grpc
from moorage.csi.spec import pluginregistration_pb2 as registration
from moorage.host import mountinfo
from moorage.host.filesystems import KINDS
from moorage.model.ownership import CINDER_DRIVER as NAME
from node_service import MODE, Kubelet, capability, plug

pytestmark = pytest.mark.contract

SIZE = 320 * 2**20
VOLUME = "0f0e0d0c-1111-2222-3333-444455556666"
BLOCK = capability(block=True)


class Driver:
    """The program, which may be killed and started again, and its mounts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.by_id = folder, folder / "by-id"
        self.sockets = Sockets.below(folder / "kubelet", NAME)
        self.namespace_process = subprocess.Popen(["unshare", "--mount", "--propagation=private", "sleep", "600"])
        while Path(f"/proc/{self.namespace_process.pid}/comm").read_text() != "sleep\n":
            time.sleep(0.01)  # before that it is not in the namespace yet
        self.disks = LoopDisks(folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *("nsenter", f"--mount=/proc/{self.namespace_process.pid}/ns/mnt", "--"),
                *(sys.executable, "-c", "from moorage.bootstrap import csi_node; csi_node()"),
                *("--node-id=server-1", "--zone=nova"),
                *(f"--kubelet={self.folder / 'kubelet'}", f"--by-id={self.by_id}"),
            ]
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def close(self) -> None:
        self.kill()
        self.namespace_process.kill()
        self.namespace_process.wait(20)
        self.disks.close()

    def plug(self, volume: str = VOLUME) -> Path:
        device = self.disks.add(SIZE)
        plug(self.by_id, volume, device)
        return device

    def call(self, name: str, request: Any) -> Any:
        with grpc.insecure_channel(f"unix:{self.sockets.driver}") as channel:
            return getattr(csi_pb2_grpc.NodeStub(channel), name)(request, timeout=30, wait_for_ready=True)

    def path_in_namespace(self, path: Path) -> Path:
        """A path in the driver's mount namespace, seen from outside."""
        return Path(f"/proc/{self.namespace_process.pid}/root{path}")

    def mounts(self) -> list[mountinfo.Line]:
        lines = mountinfo.parse(Path(f"/proc/{self.namespace_process.pid}/mountinfo").read_text().splitlines())
        return [line for line in lines if line.target.startswith(str(self.folder))]


@pytest.fixture
def driver() -> Iterator[Driver]:
    if os.geteuid() != 0:
        pytest.fail("the real Linux needs root")
    with TemporaryDirectory(prefix="csi-") as folder:  # a socket's path has 107 characters at most
        started = Driver(Path(folder))
        try:
            yield started
        finally:
            started.close()


@pytest.fixture
def kubelet(driver: Driver) -> Kubelet:
    return Kubelet(driver.call, VOLUME, driver.folder / "staging" / "globalmount", driver.folder / "pods")


def call_rejected(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("kind", KINDS)
def test_published_volume_keeps_data_for_next_pod(driver: Driver, kubelet: Kubelet, kind: str) -> None:
    driver.plug()
    requested = capability(kind, flags=["noatime"])
    for pod in ("pod-1", "pod-2"):
        for _ in range(2):
            kubelet.stage(requested)
        for _ in range(2):
            kubelet.publish(requested, pod=pod)
        file = driver.path_in_namespace(kubelet.target(pod)) / "row"
        if pod == "pod-1":
            file.write_text("acknowledged")
        assert file.read_text() == "acknowledged"
        assert {line.kind for line in driver.mounts()} == {kind}
        for _ in range(2):
            kubelet.unpublish(pod)
        for _ in range(2):
            kubelet.unstage()
        assert driver.mounts() == []
        assert not kubelet.target(pod).exists()


def test_read_only_publication_rejects_writes(driver: Driver, kubelet: Kubelet) -> None:
    driver.plug()
    kubelet.stage()
    kubelet.publish()
    kubelet.publish(read_only=True, pod="reader")
    (driver.path_in_namespace(kubelet.target()) / "row").write_text("x")
    with pytest.raises(OSError, match="Read-only"):
        (driver.path_in_namespace(kubelet.target("reader")) / "row").write_text("y")


def test_publish_block_volume_binds_device(driver: Driver, kubelet: Kubelet) -> None:
    device = driver.plug()
    for _ in range(2):
        kubelet.stage(BLOCK)
        kubelet.publish(BLOCK)
    with driver.path_in_namespace(kubelet.target()).open("r+b", buffering=0) as disk:
        disk.write(b"raw".ljust(512))
        os.fsync(disk.fileno())
    assert driver.disks.read(device, 0, 3) == b"raw"
    assert [(usage.unit, usage.total) for usage in kubelet.stats().usage] == [(csi.VolumeUsage.BYTES, SIZE)]
    driver.disks.enlarge(device, 2 * SIZE)
    assert kubelet.expand(2 * SIZE) == 2 * SIZE
    for _ in range(2):
        kubelet.unpublish()
        kubelet.unstage()
    assert not kubelet.target().exists()
    code, message = call_rejected(kubelet.stage)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "has data, not ext4, and is not formatted" in message
    assert driver.disks.read(device, 0, 3) == b"raw"


def test_expand_volume_during_writes(driver: Driver, kubelet: Kubelet) -> None:
    device, requested = driver.plug(), capability("xfs")
    kubelet.stage(requested)
    kubelet.publish(requested)
    before = kubelet.stats().usage[0].total
    assert call_rejected(lambda: kubelet.expand(2 * SIZE))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    with (driver.path_in_namespace(kubelet.target()) / "row").open("w") as writing:
        driver.disks.enlarge(device, 2 * SIZE)
        assert kubelet.expand(2 * SIZE) == 2 * SIZE
        writing.write("x")
    assert kubelet.stats().usage[0].total > 1.8 * before


def test_stage_grown_ext4_fills_disk(driver: Driver, kubelet: Kubelet) -> None:
    device = driver.plug()
    kubelet.stage()
    kubelet.publish()
    before = kubelet.stats().usage[0].total
    kubelet.unpublish()
    kubelet.unstage()
    driver.disks.enlarge(device, 2 * SIZE)
    kubelet.stage()
    kubelet.publish()
    assert kubelet.stats().usage[0].total > 1.8 * before


def test_stage_xfs_clone_beside_its_source(driver: Driver, kubelet: Kubelet) -> None:
    source, copy = driver.plug(), driver.plug("ffffffff-1111-2222-3333-444455556666")
    requested = capability("xfs")
    kubelet.stage(requested)
    kubelet.unstage()
    subprocess.run(["dd", f"if={source}", f"of={copy}", "bs=1M", "conv=sparse,fsync", "status=none"], check=True)
    other = replace(kubelet, volume="ffffffff-1111-2222-3333-444455556666", staging=driver.folder / "other")
    kubelet.stage(requested)
    other.stage(requested)
    assert len(driver.mounts()) == 2


def test_stage_damaged_file_system_reports_error(driver: Driver, kubelet: Kubelet) -> None:
    device = driver.plug()
    kubelet.stage()
    kubelet.unstage()
    driver.disks.write(device, 4096, os.urandom(4096))
    driver.disks.write(device, 1024 + 0x3A, b"\x02\x00")  # its state: errors were detected
    before = driver.disks.read(device, 0, 2**16)
    code, message = call_rejected(kubelet.stage)
    assert code is grpc.StatusCode.INTERNAL
    assert f"the ext4 on {device} is damaged" in message
    assert f"repair it with `fsck.ext4 {device}`" in message
    assert driver.mounts() == []
    assert driver.disks.read(device, 4096, 4096) == before[4096:8192], "the device was formatted"


def test_stage_unknown_mount_option_reports_error(driver: Driver, kubelet: Kubelet) -> None:
    driver.plug()
    code, message = call_rejected(lambda: kubelet.stage(capability(flags=["no-such-option"])))
    assert code is grpc.StatusCode.INTERNAL
    assert "bad option" in message
    kubelet.stage()


def test_stage_missing_device_reports_error(driver: Driver, kubelet: Kubelet) -> None:
    started = time.monotonic()
    code, message = call_rejected(kubelet.stage)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "virtio-0f0e0d0c-1111-2222-3 has not appeared on this node" in message
    assert time.monotonic() - started < 15


def test_unpublish_volume_in_use_fails(driver: Driver, kubelet: Kubelet) -> None:
    driver.plug()
    kubelet.stage()
    kubelet.publish()
    with (driver.path_in_namespace(kubelet.target()) / "row").open("w"):
        code, message = call_rejected(kubelet.unpublish)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "busy" in message
    kubelet.unpublish()
    kubelet.unstage()


@pytest.mark.parametrize("requested", [capability(), capability("xfs"), BLOCK], ids=["ext4", "xfs", "block"])
def test_call_with_killed_driver_succeeds_when_repeated(driver: Driver, kubelet: Kubelet, requested: Any) -> None:
    for hundredth in (2, 5):
        volume = f"{hundredth:08d}-1111-2222-3333-444455556666"
        driver.plug(volume)
        kubelet_of_volume = replace(kubelet, volume=volume, staging=driver.folder / f"staging-{hundredth}")
        for call in (kubelet_of_volume.stage, kubelet_of_volume.publish):
            kill_during(driver, partial(call, requested), hundredth / 100)
            call(requested)
        kill_during(driver, kubelet_of_volume.unpublish, hundredth / 100)
        kubelet_of_volume.unpublish()
        kill_during(driver, kubelet_of_volume.unstage, hundredth / 100)
        kubelet_of_volume.unstage()
        assert driver.mounts() == []
        kubelet_of_volume.stage(requested)
        kubelet_of_volume.publish(requested)
        assert not kubelet_of_volume.stats().volume_condition.abnormal
        kubelet_of_volume.unpublish()
        kubelet_of_volume.unstage()


def kill_during(driver: Driver, call: Callable[[], object], seconds: float) -> None:
    """Kill the driver `seconds` after the start of a call, and start it again."""

    def restart() -> None:
        driver.kill()
        driver.start()

    killer = Timer(seconds, restart)
    killer.start()
    with suppress(grpc.RpcError):  # the call may have completed before
        call()
    killer.join(20)


def test_concurrent_calls_for_one_volume_abort_one(driver: Driver, kubelet: Kubelet) -> None:
    with grpc.insecure_channel(f"unix:{driver.sockets.driver}") as channel:
        request = csi.NodeStageVolumeRequest(
            volume_id=VOLUME, staging_target_path=str(kubelet.staging), volume_capability=capability()
        )
        stage = csi_pb2_grpc.NodeStub(channel).NodeStageVolume
        first = stage.future(request, timeout=30, wait_for_ready=True)
        second = stage.future(request, timeout=30, wait_for_ready=True)
        while not (first.done() or second.done()):
            time.sleep(0.01)
        early, late = (first, second) if first.done() else (second, first)
        assert early.code() is grpc.StatusCode.ABORTED
        driver.plug()
        late.result()
    assert len(driver.mounts()) == 1


def test_driver_registers_and_stops_on_sigterm(driver: Driver) -> None:
    info = driver.call("NodeGetInfo", csi.NodeGetInfoRequest())
    assert (info.node_id, dict(info.accessible_topology.segments)) == (
        "server-1",
        {"topology.cinder.csi.openstack.org/zone": "nova"},
    )
    with grpc.insecure_channel(f"unix:{driver.sockets.registration}") as channel:
        stub = pluginregistration_pb2_grpc.RegistrationStub(channel)
        message = stub.GetInfo(registration.InfoRequest(), timeout=30, wait_for_ready=True)
    assert (message.name, message.endpoint) == ("cinder.csi.openstack.org", str(driver.sockets.driver))
    assert driver.process is not None
    driver.process.terminate()
    assert driver.process.wait(20) == 0


def test_read_write_once_pod_rejects_second_pod(driver: Driver, kubelet: Kubelet) -> None:
    for volume, block in ((VOLUME, False), ("bbbbbbbb-1111-2222-3333-444455556666", True)):
        driver.plug(volume)
        kubelet_of_volume = replace(kubelet, volume=volume)
        requested = capability(mode=MODE.SINGLE_NODE_SINGLE_WRITER, block=block)
        kubelet_of_volume.stage(requested)
        for _ in range(2):
            kubelet_of_volume.publish(requested, pod=f"{volume}-1")
        code, message = call_rejected(partial(kubelet_of_volume.publish, requested, pod="second"))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "for one pod" in message
