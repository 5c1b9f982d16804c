"""Assemble the disk: partitions, GRUB, and one slot. Needs no loop devices."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path

from moorage.cloud.port.images import ImageFile
from moorage.image.disk import grub, initrd, verity
from moorage.image.disk.kernel import Hardware, Kernel, fetch_kernel
from moorage.image.node_image import NodeImage
from moorage.image.run import run
from moorage.model.boot import DISK, RECORD, BootRecord

MIB = 2**20
BIOS, ESP, BOOT, STATE = (1, 1), (2, 32), (34, 1024), (1058, 64)
"""First MiB and number of MiB of each partition."""
SIZE = 1123  # MiB, with the copy of the partition table at the end
TYPES = {
    "bios": "21686148-6449-6E6F-744E-656564454649",
    "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "boot": "BC13C2FF-59E6-4262-A352-B275FD6F7172",
    "state": "4D21B016-B534-45C2-A9FB-5C16E091FD2D",
}
"""The types of the partitions by their names (Discoverable Partitions Specification)."""
GRUB_CFG = Path(__file__).parent / "grub.cfg"
EXT4 = "^metadata_csum,^metadata_csum_seed,^orphan_file"
"""GRUB 2.06 writes its counters into the file's blocks."""


@dataclass(frozen=True)
class DiskImage:
    """A node image as a qcow2 file. `min_disk` in GB, `min_memory` in MiB."""

    image: NodeImage
    hardware: Hardware
    file: Path

    min_disk: int = 8
    min_memory: int = 2048

    @property
    def to_upload(self) -> ImageFile:
        name = f"{self.image.name}-{self.hardware}"
        return ImageFile(name, self.file, self.min_disk, self.min_memory, self.properties, "qcow2")

    @property
    def properties(self) -> dict[str, str]:
        """Image properties, beside those of each format.

        Debian's cloud kernel has no driver for a CD with a config drive on SATA, where Nova puts it on machines of
        type q35.
        """
        cd = {"hw_cdrom_bus": "scsi", "hw_scsi_model": "virtio-scsi"} if self.hardware is Hardware.SERVER else {}
        own = {"moorage_format": DISK, "moorage_disk": self.file.stem, "moorage_file_sha256": _sha256(self.file)}
        return {**self.image.common_properties, **cd, **own}


def build_disk(cache: Path, image: NodeImage, hardware: Hardware, report: Callable[[str], None]) -> DiskImage:
    """Build the disk for a node image, if missing. Failed with the failed program's output."""
    kernel = fetch_kernel(cache / "image/kernels", hardware, report)
    inputs = sha256(f"{image.sha256} {hardware} {kernel.version}".encode())
    for path in (*initrd.programs(), grub.LIBRARY / "i386-pc/kernel.img", *sorted(Path(__file__).parent.glob("*"))):
        inputs.update(path.read_bytes() if path.is_file() else b"")
    file = image.directory / f"{hardware}-{inputs.hexdigest()[:8]}.qcow2"
    if not file.exists():
        report(f"disk image: assembling, with the kernel {kernel.version}")
        _build(image, kernel, hardware, file)
    return DiskImage(image, hardware, file)


def _build(image: NodeImage, kernel: Kernel, hardware: Hardware, file: Path) -> None:
    """The same inputs give the same bytes."""
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="disk-") as scratch:
        raw = Path(scratch) / "disk.raw"
        _partition(raw, image.version)
        _write_bios(raw)
        _write(raw, _esp(Path(scratch), image.version), ESP)
        _write(raw, _boot(Path(scratch), image.squashfs, kernel, hardware, image.version), BOOT)
        made = Path(scratch) / "disk.qcow2"
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made])
        made.rename(file)


@cache
def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _id(version: str, name: str) -> str:
    """A UUID that is the same for the same image."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"moorage:{version}/{name}"))


def _partition(raw: Path, version: str) -> None:
    with raw.open("wb") as file:
        file.truncate(SIZE * MIB)
    lines = ["label: gpt", f"label-id: {_id(version, 'disk')}", "sector-size: 512"]
    for (name, kind), (start, size) in zip(TYPES.items(), (BIOS, ESP, BOOT, STATE), strict=True):
        lines.append(f"start={start}MiB, size={size}MiB, type={kind}, uuid={_id(version, name)}, name={name}")
    script = raw.with_suffix(".sfdisk")
    script.write_text("\n".join(lines) + "\n")
    run(["sh", "-c", 'exec sfdisk --quiet "$1" < "$2"', "sh", raw, script])


def _write_bios(raw: Path) -> None:
    sector = BIOS[0] * MIB // grub.SECTOR
    code, core = grub.bios(sector)
    assert len(core) <= BIOS[1] * MIB
    with raw.open("r+b") as file:
        file.write(code)
        file.seek(sector * grub.SECTOR)
        file.write(core)


def _write(raw: Path, partition: Path, place: tuple[int, int]) -> None:
    run(["dd", f"if={partition}", f"of={raw}", "bs=1M", f"seek={place[0]}", "conv=notrunc,sparse", "status=none"])


def _esp(scratch: Path, version: str) -> Path:
    partition, program = scratch / "esp", scratch / "BOOTX64.EFI"
    program.write_bytes(grub.uefi())
    os.utime(program, (0, 0))
    serial = _id(version, "esp").replace("-", "")[:8]
    run(["mkfs.vfat", "-C", "--invariant", "-i", serial, "-n", "ESP", partition, str(ESP[1] * 1024)])
    with_time = ["env", "SOURCE_DATE_EPOCH=0", "TZ=UTC"]
    run([*with_time, "mmd", "-i", partition, "::/EFI", "::/EFI/BOOT"])
    run([*with_time, "mcopy", "-m", "-i", partition, program, "::/EFI/BOOT/BOOTX64.EFI"])
    return partition


def _boot(scratch: Path, root: Path, kernel: Kernel, hardware: Hardware, version: str) -> Path:
    """The partition with GRUB's configuration and one slot."""
    tree, partition = scratch / "tree", scratch / "boot"
    record = BootRecord().installed(version)
    slot = tree / record.slots[0].folder
    for folder in (slot, tree / "grub"):
        folder.mkdir(parents=True)
    _fill(slot, root, kernel, hardware)
    shutil.copy(GRUB_CFG, tree / "grub/grub.cfg")
    (tree / RECORD).write_bytes(record.content())
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (0, 0))
    id = _id(version, "boot")
    same = ("-U", id, "-E", f"hash_seed={id}", "-O", EXT4)
    command = ("env", "E2FSPROGS_FAKE_TIME=1", "mkfs.ext4", "-q", "-F", "-L", "moorage-boot", "-m", "0", *same)
    run([*command, "-d", tree, partition, f"{BOOT[1]}M"])
    requests = scratch / "times-of-changes"
    paths = ("/", *(f"/{path.relative_to(tree)}" for path in tree.rglob("*")))
    requests.write_text("".join(f"set_inode_field {path} ctime @0\n" for path in paths))
    run(["debugfs", "-w", "-f", requests, partition])
    return partition


def _fill(slot: Path, root: Path, kernel: Kernel, hardware: Hardware) -> None:
    """The files of a slot: a change of any of them is noticed, by GRUB in the first two, by dm-verity in the others."""
    shutil.copy(kernel.linux, slot / "linux")
    (slot / "initrd").write_bytes(initrd.build(kernel, hardware))
    sums = "".join(f"{sha256((slot / name).read_bytes()).hexdigest()}  {name}\n" for name in ("linux", "initrd"))
    (slot / "sums").write_text(sums)
    trees = []
    for name, file in (("root", root), ("modules", kernel.squashfs)):
        copy = slot / f"{name}.squashfs"
        shutil.copy(file, copy)
        trees.append(f"moorage.{name}={verity.append_tree(copy)}")
    (slot / "verity.cfg").write_text(f'set verity="{" ".join(trees)}"\n')
