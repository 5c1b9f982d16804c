"""The initial RAM disk: busybox, dmsetup, the script `init`, and the drivers of disks and file systems."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from moorage.image.disk.kernel import Hardware, Kernel
from moorage.image.run import run

BUSYBOX, DMSETUP = Path("/bin/busybox"), Path("/sbin/dmsetup")
INIT = Path(__file__).parent / "init"
NEEDED = ("softdog", "loop", "squashfs", "overlay", "ext4", "crc32c_generic", "dm_verity", "sha256_generic")
"""Loaded in any case."""
USUAL = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod")
"""Drivers of most servers' disks, loaded first: to look for hardware takes longer."""
DRIVERS = (
    *(
        "virtio_mmio",
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
"""Loaded for the hardware that is there, with the driver of a CD that has the config drive."""
MICROCODE = (("GenuineIntel", "intel-ucode/*"), ("AuthenticAMD", "amd-ucode/*.bin"))
FOLDERS = ("bin", "boot", "dev", "etc", "proc", "root", "run", "sys")
FOLDER, PROGRAM, TEXT = 0o040755, 0o100755, 0o100644
Entry = tuple[str, int, bytes]


def build(kernel: Kernel, hardware: Hardware) -> bytes:
    """The archive, compressed; the same kernel gives the same bytes. Drivers that the kernel lacks are built in."""
    wanted = (*NEEDED, *USUAL, *DRIVERS, *(METAL_DRIVERS if hardware is Hardware.METAL else ()))
    files = {str(path.relative_to("/")): (PROGRAM, path.read_bytes()) for path in programs()}
    files["init"] = (PROGRAM, INIT.read_bytes())
    files["etc/modules"] = (TEXT, "\n".join((*NEEDED, *USUAL)).encode())
    for path in _modules(kernel, wanted):
        files[str(path.relative_to(kernel.modules))] = (TEXT, path.read_bytes())
    folders = {*FOLDERS, *(str(parent) for name in files for parent in Path(name).parents if parent.name)}
    entries = [*((name, FOLDER, b"") for name in sorted(folders)), *((name, *files[name]) for name in sorted(files))]
    return _microcode(kernel.firmware) + gzip.compress(pack(entries), mtime=0)


def _microcode(firmware: Path) -> bytes:
    """An archive that the kernel reads before all else, so it is not compressed (Documentation/arch/x86/microcode)."""
    files = [(vendor, sorted(firmware.glob(pattern))) for vendor, pattern in MICROCODE]
    if not any(paths for _, paths in files):
        return b""
    folders = [(folder, FOLDER, b"") for folder in ("kernel", "kernel/x86", "kernel/x86/microcode")]
    contents = [(vendor, b"".join(path.read_bytes() for path in paths)) for vendor, paths in files]
    return pack([*folders, *((f"kernel/x86/microcode/{vendor}.bin", TEXT, content) for vendor, content in contents)])


def programs() -> list[Path]:
    """busybox, which needs no library, and dmsetup with its libraries."""
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", DMSETUP]))
    return [BUSYBOX, DMSETUP, *map(Path, libraries)]


def _modules(kernel: Kernel, wanted: Sequence[str]) -> set[Path]:
    """The modules with those that they depend on, and the indexes that modprobe reads."""
    folder = kernel.modules / "lib/modules" / kernel.release
    indexes = {folder / name for name in ("modules.dep", "modules.alias", "modules.builtin", "modules.softdep")}
    return indexes.union(*(with_dependencies(kernel, name) for name in wanted))


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
