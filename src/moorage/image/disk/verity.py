"""dm-verity: a tree of hashes behind a file system's last block, so that the kernel checks each block that it reads.

Source: the kernel's Documentation/admin-guide/device-mapper/verity.rst; the tree is made by veritysetup(8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from moorage.image.run import run
from moorage.model.errors import Failed

BLOCK = 4096


@dataclass(frozen=True)
class Tree:
    """The number of blocks before the tree, which begins with the next one, and the hash of its root (hexadecimal)."""

    blocks: int
    root: str

    def __str__(self) -> str:
        """As the initial RAM disk reads it."""
        return f"{self.blocks},{self.root}"


def append_tree(file: Path) -> Tree:
    """Append the tree to a file system's image; the same file gives the same tree. Failed."""
    size = -(-file.stat().st_size // BLOCK) * BLOCK
    with file.open("r+b") as stream:
        stream.truncate(size)
    place = (f"--hash-offset={size}", f"--data-blocks={size // BLOCK}", "--no-superblock", "--salt=-")
    output = run(["veritysetup", "format", file, file, *place])
    root = re.search(r"^Root hash:\s+([0-9a-f]{64})$", output, re.MULTILINE)
    if root is None:
        raise Failed(f"veritysetup printed no root hash: {output[-500:]}")
    return Tree(size // BLOCK, root[1])
