"""Disks for tests: loop devices on sparse files, and mounts that only the test sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moorage.host import kernel, mountinfo
from moorage.local.machine.host import loops


@contextmanager
def own_mounts() -> Iterator[None]:
    """Move the calling thread to a mount namespace of its own, and back; its mounts disappear then."""
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
    here = Path.cwd()
    kernel.unshare(kernel.NEWNS)
    try:
        kernel.mount("", "/", flags=kernel.REC | kernel.PRIVATE)
        yield
    finally:
        kernel.setns(f"/proc/self/fd/{before}", kernel.NEWNS)
        os.close(before)
        os.chdir(here)


@dataclass
class LoopDisks:
    """Loop devices on files in a folder; `close` releases all, also when a test has left them mounted."""

    folder: Path
    files: dict[Path, Path] = field(default_factory=dict)

    def add(self, size: int) -> Path:
        file = self.folder / f"disk-{len(self.files)}"
        file.touch()
        os.truncate(file, size)
        loops.attach(file)
        device = Path(loops.devices(file)[0])
        self.files[device] = file
        return device

    def enlarge(self, device: Path, size: int) -> None:
        os.truncate(self.files[device], size)
        loops.grow(self.files[device])

    def write(self, device: Path, at: int, content: bytes) -> None:
        with device.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), content, at)
            os.fsync(file.fileno())

    def read(self, device: Path, at: int, size: int) -> bytes:
        with device.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, at)

    def close(self) -> None:
        numbers = {device.stat().st_rdev for device in self.files}
        for line in reversed(mountinfo.read()):
            if line.device in numbers or str(self.folder) in line.target:
                subprocess.run(["umount", "--lazy", line.target], check=False)
        for file in self.files.values():
            loops.detach(file)
