"""A slot's files in a disk image: the third partition of a GPT disk in a qcow2 file.

Sources: QEMU's docs/interop/qcow2.txt, of which `qemu-img convert` without options uses only what is read here; the
UEFI specification for the partition table; debugfs(8).
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from moorage.model.errors import BadInput, Failed

MAGIC = 0x514649FB
HEADER = struct.Struct(">IIQIIQIIQ")
FEATURES = 72  # the place of a version 3 header's incompatible features
OFFSET = 0x00FFFFFFFFFFFE00  # the bits of an entry that are an offset
COMPRESSED, ZERO = 1 << 62, 1
SECTOR = 512
BOOT = 3
SLOT = "/slots/a"
"""Where an image that was never installed has its files."""


class Qcow2:
    """A qcow2 file without backing file, compression and encryption; BadInput for others."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        header = stream.read(HEADER.size)
        if len(header) < HEADER.size:
            raise BadInput("the image is not a qcow2 file")
        magic, version, backing, _, bits, self.size, encryption, entries, table = HEADER.unpack(header)
        if magic != MAGIC or version not in (2, 3):
            raise BadInput("the image is not a qcow2 file")
        features = self._number(FEATURES) if version == 3 else 0
        if backing or encryption or features or not 9 <= bits <= 21:
            raise BadInput("the image is a qcow2 file with features that a node does not read: upload it uncompressed")
        self.cluster = 1 << bits
        self._l1 = self._table(table, entries)

    def clusters(self, start: int, size: int) -> Iterator[tuple[int, bytes]]:
        """The clusters with data of a range, by their place in it; `start` begins a cluster, all others are zeros."""
        per_table = self.cluster // 8
        for number in range(start // self.cluster, -(-(start + size) // self.cluster)):
            first, second = divmod(number, per_table)
            table = self._l1[first] & OFFSET if first < len(self._l1) else 0
            entry = self._number(table + 8 * second) if table else 0
            if entry & COMPRESSED:
                raise BadInput("the image is compressed: upload it uncompressed")
            if entry & OFFSET and not entry & ZERO:
                self.stream.seek(entry & OFFSET)
                yield number * self.cluster - start, self.stream.read(self.cluster)

    def read(self, offset: int, length: int) -> bytes:
        """A range of the disk."""
        first = offset // self.cluster * self.cluster
        content = bytearray(-(-(offset + length - first) // self.cluster) * self.cluster)
        for place, data in self.clusters(first, len(content)):
            content[place : place + len(data)] = data
        return bytes(content[offset - first : offset - first + length])

    def _table(self, offset: int, entries: int) -> tuple[int, ...]:
        self.stream.seek(offset)
        return struct.unpack(f">{entries}Q", self.stream.read(8 * entries))

    def _number(self, offset: int) -> int:
        return self._table(offset, 1)[0]


def partition(disk: Qcow2, number: int) -> tuple[int, int]:
    """First byte and number of bytes of a partition, counted from 1; BadInput when the disk has no GPT with it."""
    header = disk.read(SECTOR, SECTOR)
    if not header.startswith(b"EFI PART"):
        raise BadInput("the image has no partition table (GPT)")
    place, entries, length = struct.unpack_from("<QII", header, 72)
    entry = disk.read(place * SECTOR + (number - 1) * length, 48)
    first, last = struct.unpack_from("<QQ", entry, 32)
    if number > entries or not first:
        raise BadInput(f"the image has no partition {number}")
    return first * SECTOR, (last - first + 1) * SECTOR


def extract_slot(image: Path, scratch: Path, folder: Path) -> Path:
    """Copy the image's slot, a folder of files, into a folder; returns its path. `scratch` is a file for its partition.

    BadInput for another kind of image; Failed when a file cannot be copied, as on a full disk.
    """
    try:
        with image.open("rb") as stream, scratch.open("wb") as copy:
            disk = Qcow2(stream)
            start, size = partition(disk, BOOT)
            copy.truncate(size)
            for place, data in disk.clusters(start, size):
                copy.seek(place)
                copy.write(data[: size - place])
        return _dump(scratch, folder)
    except struct.error as error:
        raise BadInput(f"the image is truncated: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)


def _dump(partition: Path, folder: Path) -> Path:
    """debugfs reports failures in words only, after its own version."""
    command = ["debugfs", "-R", f"rdump {SLOT} {folder}", str(partition)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    problems = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    made = folder / Path(SLOT).name
    if done.returncode != 0 or problems or not made.is_dir():
        raise Failed(f"the image's files cannot be copied: {'; '.join(problems[-3:]) or 'it has none'}")
    return made
