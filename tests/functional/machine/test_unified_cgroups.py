"""A host with only cgroup v2, like most hosts: here a small virtual machine with Debian's kernel.

The virtual machine is emulated in software, so it runs anywhere, with the kernel of the disk image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from moorage.config import Paths
from moorage.image.disk import initrd
from moorage.image.disk.kernel import Hardware, Kernel, fetch_kernel
from vm import run

pytestmark = [pytest.mark.functional, pytest.mark.timeout(900)]

MODULES = ("virtio_pci", "virtio_blk", "squashfs", "ext4", "loop", "overlay", "fuse")
HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src" / "moorage"
TIMEOUT = 240
"""Seconds after which the test stops the virtual machine."""
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod $module || echo "no $module"; done
/bin/busybox mount -t squashfs -o ro /dev/vda /root || exec /bin/busybox poweroff -f
/bin/busybox mount -t ext4 /dev/vdb /root/mnt
/bin/busybox mount -t proc proc /root/proc
/bin/busybox mount -t sysfs sys /root/sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /usr/bin/python3 /mnt/guest.py
"""


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    cache = Paths.from_environment(os.environ).cache
    return fetch_kernel(cache / "image/kernels", Hardware.SERVER, print)


def modules(kernel: Kernel) -> list[Path]:
    """List the files of MODULES and their dependencies in load order."""
    files: list[Path] = []
    for name in MODULES:
        for path in initrd.with_dependencies(kernel, name):
            if path not in files:
                files.append(path)
    return files


def initramfs(kernel: Kernel) -> bytes:
    folder, program = 0o040755, 0o100755
    entries = [("bin", folder, b""), ("modules", folder, b""), ("init", program, INIT.encode())]
    entries.append(("bin/busybox", program, Path("/bin/busybox").read_bytes()))
    for number, file in enumerate(modules(kernel)):
        entries.append((f"modules/{number:02}-{file.name}", program, file.read_bytes()))
    return initrd.pack(entries)


def disk(folder: Path, image: Path) -> Path:
    """Create the guest's disk: the sources, the guest's program, the image, and space for a machine's disk."""
    tree = folder / "tree"
    for part in ("host", "local/machine", "model"):
        shutil.copytree(SOURCES / part, tree / "src/moorage" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__init__.py", "local/__init__.py"):
        shutil.copy(SOURCES / file, tree / "src/moorage" / file)
    shutil.copy(HERE / "guest.py", tree)
    (tree / "machines").mkdir()
    shutil.copy(image, tree / "machines/image.squashfs")
    image_file = folder / "disk.ext4"
    run("mkfs.ext4", "-q", "-d", str(tree), str(image_file), "2G")
    return image_file


def test_machine_on_host_with_cgroup_v2(tmp_path: Path, kernel: Kernel, root_image: Path) -> None:
    (tmp_path / "initramfs").write_bytes(initramfs(kernel))
    drives = [f"file={root_image},read-only=on", f"file={disk(tmp_path, root_image)}"]
    options = [word for drive in drives for word in ("-drive", f"if=virtio,format=raw,{drive}")]
    command = [
        *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024"),
        *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", str(kernel.linux), "-initrd", str(tmp_path / "initramfs"), *options),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    print(result.stdout[-4000:])
    assert "PASSED" in result.stdout, f"{result.stdout[-3000:]}\n{result.stderr}"
