"""The initial etcd store of a cluster."""

from __future__ import annotations

import os
import shutil

from moorage.node import files
from moorage.node.layout import Layout

LOG_SIZE = 64 << 20
"""Bytes that etcd reserves for a log: writes into reserved space reach the disk faster."""


def plant(layout: Layout) -> None:
    """Copy the image's store to etcd's data folder, completely or not at all; does nothing when there is one."""
    if layout.store.exists() or not layout.store_seed.exists():
        return
    partial = layout.store.with_name("member.new")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(layout.store_seed, partial)
    for path in [partial, *partial.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    for log in partial.glob("wal/*.wal"):
        with log.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, LOG_SIZE)
    for path in partial.rglob("*"):
        files.sync(path)
    partial.rename(layout.store)
