"""The initial RAM disk: busybox, the script `init`, and the drivers of disks and file systems."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from moorage.image.disk.kernel import Hardware, Kernel
from moorage.image.run import run

BUSYBOX = Path("/bin/busybox")
INIT = Path(__file__).parent / "init"
NEEDED = ("loop", "squashfs", "overlay", "ext4", "crc32c_generic")
"""Loaded in any case; the drivers of disks, and of a CD with the config drive, for the hardware that is there."""
DRIVERS = (
    *(
        "virtio_pci",
        "virtio_mmio",
        "virtio_blk",
        "virtio_scsi",
        "sd_mod",
        "sr_mod",
        "ata_generic",
        "ata_piix",
        "ahci",
        "nvme",
    ),
    *("hv_vmbus", "hv_storvsc", "xen-blkfront", "vmw_pvscsi", "mptspi"),
)
METAL_DRIVERS = (
    *("megaraid_sas", "mpt3sas", "hpsa", "smartpqi", "aacraid", "arcmsr", "isci", "mvsas", "pm80xx", "3w-9xxx"),
    *("usb_storage", "uas", "xhci_pci", "ehci_pci", "sdhci_pci", "mmc_block", "vmd"),
)
FOLDERS = ("bin", "boot", "dev", "etc", "proc", "root", "run", "sys")
FOLDER, PROGRAM, TEXT = 0o040755, 0o100755, 0o100644
Entry = tuple[str, int, bytes]


def build(kernel: Kernel, hardware: Hardware) -> bytes:
    """The archive, compressed; the same kernel gives the same bytes. Drivers that the kernel lacks are built in."""
    wanted = (*NEEDED, *DRIVERS, *(METAL_DRIVERS if hardware is Hardware.METAL else ()))
    entries: list[Entry] = [(name, FOLDER, b"") for name in FOLDERS]
    entries += [("bin/busybox", PROGRAM, BUSYBOX.read_bytes()), ("init", PROGRAM, INIT.read_bytes())]
    entries.append(("etc/modules", TEXT, "\n".join(NEEDED).encode()))
    entries += _modules(kernel, wanted)
    return gzip.compress(pack(entries), mtime=0)


def _modules(kernel: Kernel, wanted: Sequence[str]) -> Iterator[Entry]:
    """The modules with those that they depend on, and the indexes that modprobe reads."""
    top = kernel.modules
    folder = top / "lib/modules" / kernel.release
    files = {folder / name for name in ("modules.dep", "modules.alias", "modules.builtin", "modules.softdep")}
    for name in wanted:
        files |= set(with_dependencies(kernel, name))
    parents = {parent for file in files for parent in file.relative_to(top).parents if parent.name}
    for parent in sorted(parents):
        yield str(parent), FOLDER, b""
    for file in sorted(files):
        yield str(file.relative_to(top)), TEXT, file.read_bytes()


def with_dependencies(kernel: Kernel, name: str) -> Iterator[Path]:
    """The files of a module and of those that it depends on, in the order to load them; none for a built-in one."""
    command = ("modprobe", "--dirname", str(kernel.modules), "--set-version", kernel.release, "--show-depends", name)
    for line in run(["sh", "-c", '"$@" || true', "sh", *command]).splitlines():
        kind, _, path = line.partition(" ")
        if kind == "insmod":
            yield Path(path.split()[0])


def pack(entries: Iterable[Entry]) -> bytes:
    """An archive in the kernel's `newc` format (Documentation/driver-api/early-userspace/buffer-format)."""
    archive = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
