"""The port `Filesystems`: the Linux adapter with loop devices and the in-memory adapter pass the same tests."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from disks import LoopDisks, own_mounts
from moorage.host.filesystems import KINDS, Damaged, Filesystems, InUse, Mounted
from moorage.host.linux_filesystems import LinuxFilesystems
from moorage.host.memory_filesystems import MemoryFilesystems
from moorage.model.errors import Conflict, Failed, NotFound

pytestmark = pytest.mark.contract

SIZE = 320 * 2**20  # bytes: xfsprogs creates no file system below 300 MiB
EXT4_SUPERBLOCK = 1024
CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class HostWithDisks:
    """A host with disks, and functions that change the disks without the port."""

    filesystems: Filesystems
    folder: Path
    disk: Callable[[], Path]
    enlarge: Callable[[Path, int], None]
    damage: Callable[[Path, str], None]
    use: Callable[[Path], Callable[[], None]]

    def target(self, name: str = "target") -> Path:
        self.filesystems.make_folder(self.folder / name)
        return self.folder / name

    def mounted(self, kind: str = "ext4", *options: str) -> tuple[Path, Path]:
        """Format and mount a new disk; returns its device and mount point."""
        device, target = self.disk(), self.target()
        self.filesystems.format(device, kind)
        self.filesystems.mount(device, target, kind, options)
        return device, target


def in_memory(folder: Path) -> HostWithDisks:
    filesystems = MemoryFilesystems()

    def disk() -> Path:
        device = Path(f"/dev/vd{chr(ord('b') + len(filesystems.disks))}")
        filesystems.add(device, SIZE)
        return device

    def enlarge(device: Path, size: int) -> None:
        filesystems.disks[device].size = size

    def damage(device: Path, kind: str) -> None:
        filesystems.disks[device].damaged = True

    def use(target: Path) -> Callable[[], None]:
        filesystems.open.add(target)
        return lambda: filesystems.open.discard(target)

    return HostWithDisks(filesystems, folder, disk, enlarge, damage, use)


def on_linux(folder: Path, disks: LoopDisks) -> HostWithDisks:
    def damage(device: Path, kind: str) -> None:
        # ext4: its group descriptors, which its journal cannot repair; XFS: the head of its first allocation group
        offset = 4096 if kind == "ext4" else 512
        disks.write(device, offset, os.urandom(4096))
        if kind == "ext4":
            disks.write(device, EXT4_SUPERBLOCK + 0x3A, b"\x02\x00")  # its state: errors were detected

    def use(target: Path) -> Callable[[], None]:
        descriptor = os.open(target, os.O_RDONLY)
        return lambda: os.close(descriptor)

    return HostWithDisks(LinuxFilesystems(), folder, lambda: disks.add(SIZE), disks.enlarge, damage, use)


@pytest.fixture(params=["linux", "memory"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HostWithDisks]:
    if request.param == "memory":
        yield in_memory(tmp_path)
        return
    if os.geteuid() != 0:
        pytest.fail("the real Linux needs root")
    with own_mounts():
        disks = LoopDisks(tmp_path)
        try:
            yield on_linux(tmp_path, disks)
        finally:
            disks.close()


@pytest.mark.parametrize("kind", KINDS)
def test_format_blank_disk_once(host: HostWithDisks, kind: str) -> None:
    device = host.disk()
    assert host.filesystems.signature(device) == ""
    host.filesystems.format(device, kind)
    assert host.filesystems.signature(device) == kind
    for other in KINDS:
        with pytest.raises(Conflict, match=f"has {kind} and is not formatted"):
            host.filesystems.format(device, other)
    assert host.filesystems.signature(device) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_mount_and_unmount_file_system(host: HostWithDisks, kind: str) -> None:
    files = host.filesystems
    device, target = host.mounted(kind)
    number = files.number(device)
    assert number is not None
    assert files.mounted(target) == Mounted(number, kind, read_only=False)
    assert files.targets(device) == [target]
    assert files.problem(target) == ""
    for _ in range(2):
        files.unmount(target)
        assert files.mounted(target) is None
    assert files.targets(device) == []
    files.repair(device, kind)
    files.mount(device, target, kind, ("ro",))
    mounted = files.mounted(target)
    assert mounted is not None
    assert mounted.read_only
    files.unmount(target)


def test_mount_without_folder_or_with_wrong_type_fails(host: HostWithDisks) -> None:
    device = host.disk()
    host.filesystems.format(device, "ext4")
    with pytest.raises(Failed, match="does not exist"):
        host.filesystems.mount(device, host.folder / "missing", "ext4", ())
    with pytest.raises(Failed, match="wrong fs type"):
        host.filesystems.mount(device, host.target(), "xfs", ())
    assert host.filesystems.mounted(host.target()) is None


def test_read_only_bind_of_writable_source(host: HostWithDisks) -> None:
    files = host.filesystems
    _, source = host.mounted()
    target = host.target("bound")
    files.bind(source, target)
    assert files.mounted(target) == files.mounted(source)
    files.make_read_only(target)
    bound, writable = files.mounted(target), files.mounted(source)
    assert bound is not None
    assert writable is not None
    assert (bound.read_only, writable.read_only) == (True, False)
    files.unmount(target)
    assert files.mounted(source) == writable


def test_bind_without_source_or_target_fails(host: HostWithDisks) -> None:
    _, source = host.mounted()
    with pytest.raises(NotFound):
        host.filesystems.bind(source, host.folder / "missing")
    with pytest.raises(NotFound):
        host.filesystems.bind(host.folder / "missing", host.target("bound"))


def test_bind_device_to_file(host: HostWithDisks) -> None:
    files, device, file = host.filesystems, host.disk(), host.folder / "new" / "device"
    for _ in range(2):
        files.make_file(file)
    assert files.number(file) is None
    files.bind(device, file)
    number = files.number(device)
    assert number is not None
    assert files.number(file) == number
    assert files.mounted(file) == Mounted(number, "block")
    assert files.targets(device) == [file]
    with pytest.raises(InUse):
        files.remove(file)
    files.unmount(file)
    for _ in range(2):
        files.remove(file)


def test_mounted_returns_topmost_mount(host: HostWithDisks) -> None:
    files = host.filesystems
    _, first = host.mounted("ext4")
    second = host.disk()
    files.format(second, "xfs")
    files.mount(second, first, "xfs", ("nouuid",))
    for kind in ("xfs", "ext4"):
        mounted = files.mounted(first)
        assert mounted is not None
        assert mounted.kind == kind
        files.unmount(first)
    assert files.mounted(first) is None


def test_unmount_in_use_fails(host: HostWithDisks) -> None:
    _, target = host.mounted()
    release = host.use(target)
    try:
        with pytest.raises(InUse):
            host.filesystems.unmount(target)
        assert host.filesystems.mounted(target)
    finally:
        release()
    host.filesystems.unmount(target)


@pytest.mark.parametrize("kind", KINDS)
def test_repair_damaged_file_system_fails_and_keeps_signature(host: HostWithDisks, kind: str) -> None:
    device, target = host.disk(), host.target()
    host.filesystems.format(device, kind)
    host.damage(device, kind)
    with pytest.raises(Damaged):  # noqa: PT012 either e2fsck or the kernel reports it
        host.filesystems.repair(device, kind)
        host.filesystems.mount(device, target, kind, ())
    assert host.filesystems.signature(device) == kind
    assert host.filesystems.mounted(target) is None


def test_repair_mounted_file_system_fails(host: HostWithDisks) -> None:
    device, _ = host.mounted("ext4")
    with pytest.raises(InUse):
        host.filesystems.repair(device, "ext4")


def can_grow_mounted_ext4(host: HostWithDisks) -> bool:
    """Linux requires CAP_SYS_RESOURCE, which a container may lack."""
    effective = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert effective
    return isinstance(host.filesystems, MemoryFilesystems) or bool(int(effective[1], 16) >> CAP_SYS_RESOURCE & 1)


@pytest.mark.parametrize("kind", KINDS)
def test_grow_mounted_file_system(host: HostWithDisks, kind: str) -> None:
    files = host.filesystems
    device, target = host.mounted(kind)
    before = files.usage(target)
    files.grow(device, target, kind)
    host.enlarge(device, 2 * SIZE)
    files.rescan(device)
    assert files.size(device) == 2 * SIZE
    assert files.usage(target) == before
    if kind == "ext4" and not can_grow_mounted_ext4(host):
        with pytest.raises(InUse, match="CAP_SYS_RESOURCE"):
            files.grow(device, target, kind)
        return
    for _ in range(2):
        files.grow(device, target, kind)
        assert files.usage(target).size > 1.8 * before.size
    assert files.usage(target).inodes > before.inodes


@pytest.mark.parametrize("kind", KINDS)
def test_grow_unmounted_file_system(host: HostWithDisks, kind: str) -> None:
    files = host.filesystems
    device, target = host.mounted(kind)
    before = files.usage(target)
    files.unmount(target)
    host.enlarge(device, 2 * SIZE)
    files.rescan(device)
    for _ in range(2):
        files.grow_unmounted(device, kind)
    files.mount(device, target, kind, ())
    grown = files.usage(target).size > 1.8 * before.size
    assert grown is (kind == "ext4")


def test_usage_adds_up(host: HostWithDisks) -> None:
    _, target = host.mounted()
    usage = host.filesystems.usage(target)
    assert 0.8 * SIZE < usage.size <= SIZE
    assert 0 < usage.free + usage.used <= usage.size
    assert 0 < usage.inodes_free <= usage.inodes


def test_missing_disk_is_reported(host: HostWithDisks) -> None:
    missing = host.folder / "no-disk"
    assert host.filesystems.number(missing) is None
    for read in (host.filesystems.size, host.filesystems.signature, host.filesystems.usage):
        with pytest.raises(NotFound, match="no-disk"):
            read(missing)


def test_remove_folder_only_when_empty(host: HostWithDisks) -> None:
    files, outer, inner = host.filesystems, host.folder / "above", host.folder / "above" / "below"
    for _ in range(2):
        files.make_folder(inner)
    with pytest.raises(Failed, match="not empty"):
        files.remove(outer)
    for path in (inner, inner, outer, outer):
        files.remove(path)
