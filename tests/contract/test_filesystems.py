"""The port `filesystems`: the real Linux on loop devices, and its twin in memory, under the same tests."""

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

SIZE = 320 * 2**20  # bytes: xfsprogs makes none below 300 MiB
EXT4_SUPERBLOCK = 1024
CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class Box:
    """A box with disks, and what a test may do to them behind the port's back."""

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
        """A disk that is formatted and mounted, and where."""
        device, target = self.disk(), self.target()
        self.filesystems.format(device, kind)
        self.filesystems.mount(device, target, kind, options)
        return device, target


def in_memory(folder: Path) -> Box:
    twin = MemoryFilesystems()

    def disk() -> Path:
        device = Path(f"/dev/vd{chr(ord('b') + len(twin.disks))}")
        twin.add(device, SIZE)
        return device

    def enlarge(device: Path, size: int) -> None:
        twin.disks[device].size = size

    def damage(device: Path, kind: str) -> None:
        twin.disks[device].damaged = True

    def use(target: Path) -> Callable[[], None]:
        twin.open.add(target)
        return lambda: twin.open.discard(target)

    return Box(twin, folder, disk, enlarge, damage, use)


def on_linux(folder: Path, disks: LoopDisks) -> Box:
    def damage(device: Path, kind: str) -> None:
        # ext4: its group descriptors, which its journal cannot repair; XFS: the head of its first allocation group
        at = 4096 if kind == "ext4" else 512
        disks.write(device, at, os.urandom(4096))
        if kind == "ext4":
            disks.write(device, EXT4_SUPERBLOCK + 0x3A, b"\x02\x00")  # its state: errors were seen

    def use(target: Path) -> Callable[[], None]:
        descriptor = os.open(target, os.O_RDONLY)
        return lambda: os.close(descriptor)

    return Box(LinuxFilesystems(), folder, lambda: disks.add(SIZE), disks.enlarge, damage, use)


@pytest.fixture(params=["linux", "memory"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
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
def test_format_blank_disk_once(box: Box, kind: str) -> None:
    device = box.disk()
    assert box.filesystems.signature(device) == ""
    box.filesystems.format(device, kind)
    assert box.filesystems.signature(device) == kind
    for other in KINDS:
        with pytest.raises(Conflict, match=f"has {kind} and is not formatted"):
            box.filesystems.format(device, other)
    assert box.filesystems.signature(device) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_mount_and_unmount_file_system(box: Box, kind: str) -> None:
    files = box.filesystems
    device, target = box.mounted(kind)
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
    found = files.mounted(target)
    assert found is not None
    assert found.read_only
    files.unmount(target)


def test_mount_without_folder_or_with_wrong_type_fails(box: Box) -> None:
    device = box.disk()
    box.filesystems.format(device, "ext4")
    with pytest.raises(Failed, match="does not exist"):
        box.filesystems.mount(device, box.folder / "missing", "ext4", ())
    with pytest.raises(Failed, match="wrong fs type"):
        box.filesystems.mount(device, box.target(), "xfs", ())
    assert box.filesystems.mounted(box.target()) is None


def test_read_only_bind_of_writable_source(box: Box) -> None:
    files = box.filesystems
    _, source = box.mounted()
    target = box.target("bound")
    files.bind(source, target)
    assert files.mounted(target) == files.mounted(source)
    files.make_read_only(target)
    bound, still = files.mounted(target), files.mounted(source)
    assert bound is not None
    assert still is not None
    assert (bound.read_only, still.read_only) == (True, False)
    files.unmount(target)
    assert files.mounted(source) == still


def test_bind_without_source_or_target_fails(box: Box) -> None:
    _, source = box.mounted()
    with pytest.raises(NotFound):
        box.filesystems.bind(source, box.folder / "missing")
    with pytest.raises(NotFound):
        box.filesystems.bind(box.folder / "missing", box.target("bound"))


def test_bind_device_to_file(box: Box) -> None:
    files, device, file = box.filesystems, box.disk(), box.folder / "new" / "device"
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


def test_mounted_returns_topmost_mount(box: Box) -> None:
    files = box.filesystems
    _, first = box.mounted("ext4")
    second = box.disk()
    files.format(second, "xfs")
    files.mount(second, first, "xfs", ("nouuid",))
    for kind in ("xfs", "ext4"):
        found = files.mounted(first)
        assert found is not None
        assert found.kind == kind
        files.unmount(first)
    assert files.mounted(first) is None


def test_unmount_in_use_fails(box: Box) -> None:
    _, target = box.mounted()
    release = box.use(target)
    try:
        with pytest.raises(InUse):
            box.filesystems.unmount(target)
        assert box.filesystems.mounted(target)
    finally:
        release()
    box.filesystems.unmount(target)


@pytest.mark.parametrize("kind", KINDS)
def test_repair_damaged_file_system_fails_and_keeps_signature(box: Box, kind: str) -> None:
    device, target = box.disk(), box.target()
    box.filesystems.format(device, kind)
    box.damage(device, kind)
    with pytest.raises(Damaged):  # noqa: PT012 one of both tells: e2fsck, or the kernel
        box.filesystems.repair(device, kind)
        box.filesystems.mount(device, target, kind, ())
    assert box.filesystems.signature(device) == kind
    assert box.filesystems.mounted(target) is None


def test_repair_mounted_file_system_fails(box: Box) -> None:
    device, _ = box.mounted("ext4")
    with pytest.raises(InUse):
        box.filesystems.repair(device, "ext4")


def may_grow_ext4(box: Box) -> bool:
    """Linux wants CAP_SYS_RESOURCE for it, which a container may lack."""
    effective = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert effective
    return isinstance(box.filesystems, MemoryFilesystems) or bool(int(effective[1], 16) >> CAP_SYS_RESOURCE & 1)


@pytest.mark.parametrize("kind", KINDS)
def test_grow_mounted_file_system(box: Box, kind: str) -> None:
    files = box.filesystems
    device, target = box.mounted(kind)
    before = files.usage(target)
    files.grow(device, target, kind)
    box.enlarge(device, 2 * SIZE)
    files.rescan(device)
    assert files.size(device) == 2 * SIZE
    assert files.usage(target) == before
    if kind == "ext4" and not may_grow_ext4(box):
        with pytest.raises(InUse, match="CAP_SYS_RESOURCE"):
            files.grow(device, target, kind)
        return
    for _ in range(2):
        files.grow(device, target, kind)
        assert files.usage(target).size > 1.8 * before.size
    assert files.usage(target).inodes > before.inodes


@pytest.mark.parametrize("kind", KINDS)
def test_grow_unmounted_file_system(box: Box, kind: str) -> None:
    files = box.filesystems
    device, target = box.mounted(kind)
    before = files.usage(target)
    files.unmount(target)
    box.enlarge(device, 2 * SIZE)
    files.rescan(device)
    for _ in range(2):
        files.grow_unmounted(device, kind)
    files.mount(device, target, kind, ())
    grown = files.usage(target).size > 1.8 * before.size
    assert grown is (kind == "ext4")


def test_usage_adds_up(box: Box) -> None:
    _, target = box.mounted()
    usage = box.filesystems.usage(target)
    assert 0.8 * SIZE < usage.size <= SIZE
    assert 0 < usage.free + usage.used <= usage.size
    assert 0 < usage.inodes_free <= usage.inodes


def test_missing_disk_is_reported(box: Box) -> None:
    missing = box.folder / "no-disk"
    assert box.filesystems.number(missing) is None
    for ask in (box.filesystems.size, box.filesystems.signature, box.filesystems.usage):
        with pytest.raises(NotFound, match="no-disk"):
            ask(missing)


def test_remove_folder_only_when_empty(box: Box) -> None:
    files, above, below = box.filesystems, box.folder / "above", box.folder / "above" / "below"
    for _ in range(2):
        files.make_folder(below)
    with pytest.raises(Failed, match="not empty"):
        files.remove(above)
    for path in (below, below, above, above):
        files.remove(path)
