"""GRUB for BIOS and UEFI, as bytes to write on a disk.

Without grub-install, which needs the disk as a block device: of boot.img and core.img it changes only where they load
the next sectors from (GRUB's include/grub/i386/pc/boot.h).
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from moorage.image.run import run

LIBRARY = Path("/usr/lib/grub")
SECTOR = 512
MODULES = (
    *("part_gpt", "ext2", "fat", "normal", "configfile", "loadenv", "linux", "test", "echo", "eval", "probe"),
    *("hashsum", "gcry_sha256", "serial", "terminal", "search", "search_fs_uuid", "sleep", "reboot"),
)
CORE_SECTOR = 0x5C  # in boot.img: the sector of core.img, 64 bits
DRIVE_CHECK = 0x66  # two bytes of code that a hard disk replaces by no-operations
BLOCK_LIST = SECTOR - 12  # in core.img: the sector of its second sector, 64 bits
START = "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\nset pager=0\n"
"""What GRUB does before it reads grub.cfg: talk on both consoles."""


def uefi() -> bytes:
    """The program for a UEFI system partition, as EFI/BOOT/BOOTX64.EFI."""
    return _core("x86_64-efi")


def bios(core_sector: int) -> tuple[bytes, bytes]:
    """The boot code of sector 0, 440 bytes, and what begins at `core_sector`."""
    code, core = bytearray((LIBRARY / "i386-pc/boot.img").read_bytes()[:440]), bytearray(_core("i386-pc", "biosdisk"))
    struct.pack_into("<Q", code, CORE_SECTOR, core_sector)
    code[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
    struct.pack_into("<Q", core, BLOCK_LIST, core_sector + 1)
    return bytes(code), bytes(core)


def _core(platform: str, *more: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        start, made = Path(folder) / "start.cfg", Path(folder) / "core"
        start.write_text(START + "normal\n")
        options = ("--format", platform, "--prefix", "(,gpt3)/grub", "--config", str(start), "--output", str(made))
        run(["grub-mkimage", *options, *MODULES, *more])
        return made.read_bytes()
