"""Debian's kernel with its modules, and with firmware for metal."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from moorage.image import squash
from moorage.image.debian import SUITE
from moorage.image.run import run
from moorage.model.errors import Failed


class Hardware(StrEnum):
    """What a disk boots: virtual machines, or metal too."""

    SERVER = "server"
    METAL = "metal"


PACKAGES = {Hardware.SERVER: "linux-image-cloud-amd64", Hardware.METAL: "linux-image-amd64"}
FIRMWARE = (
    *("firmware-bnx2", "firmware-bnx2x", "firmware-qlogic", "firmware-misc-nonfree"),
    *("intel-microcode", "amd64-microcode"),
)
"""Of network cards, storage adapters and processors."""
DISPLAYS_AND_RADIO = ("i915", "nvidia", "mediatek")
"""Half of all firmware, which no server needs to be a node."""


@dataclass(frozen=True)
class Kernel:
    """A kernel in a folder of the cache: `linux`, `modules.squashfs`, and `modules`, which has the same, unpacked.

    Among the modules is the folder `firmware`, for metal.
    """

    directory: Path

    @property
    def version(self) -> str:
        """Debian's, as in 6.1.0-13-cloud-amd64_6.1.55-1."""
        return self.directory.name

    @property
    def linux(self) -> Path:
        return self.directory / "linux"

    @property
    def squashfs(self) -> Path:
        return self.directory / "modules.squashfs"

    @property
    def modules(self) -> Path:
        """A root with lib/modules, as modprobe's --dirname."""
        return self.directory / "modules"

    @property
    def release(self) -> str:
        """What uname -r shows."""
        return self.version.partition("_")[0]

    @property
    def firmware(self) -> Path:
        """The files that drivers load; empty for virtual machines."""
        return self.modules / "lib/modules/firmware"


def fetch_kernel(folder: Path, hardware: Hardware, report: Callable[[str], None]) -> Kernel:
    """The newest kernel of Debian's archive, downloaded if the cache does not have it. Needs root."""
    try:
        return _fetch(folder, hardware, report)
    except Failed:  # apt has no list of the archive, or an old one
        run(["apt-get", "update", "-q"], "building a disk image needs Debian's archive")
        return _fetch(folder, hardware, report)


def _fetch(folder: Path, hardware: Hardware, report: Callable[[str], None]) -> Kernel:
    package, version = newest(PACKAGES[hardware])
    directory = folder / f"{package.removeprefix('linux-image-')}_{version}"
    kernel = Kernel(directory)
    if directory.exists() and (hardware is Hardware.SERVER or kernel.firmware.exists()):
        return kernel
    shutil.rmtree(directory, ignore_errors=True)
    report(f"disk image: downloading {package} {version}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="kernel-") as scratch:
        made = _unpack(Path(scratch), package, version)
        if hardware is Hardware.METAL:
            report("disk image: downloading firmware")
            _add_firmware(Path(scratch), made.firmware)
        squash.pack(made.modules / "lib/modules", made.squashfs)
        (Path(scratch) / "made").rename(directory)
    return kernel


def newest(package: str) -> tuple[str, str]:
    """The package that a kernel's metapackage depends on, and its version; Failed when apt does not know them."""
    depends = run(["apt-cache", "depends", package])
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    version = found and re.search(r"Candidate: (\S+)", run(["apt-cache", "policy", found[1]]))
    if not found or not version:
        raise Failed(f"Debian's archive has no {package}", "apt-get update")
    return found[1], version[1]


def _unpack(scratch: Path, package: str, version: str) -> Kernel:
    scratch.chmod(0o755)
    run(["env", "-C", scratch, "apt-get", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}"])
    made = Kernel(scratch / "made")
    run(["dpkg-deb", "--extract", next(scratch.glob("*.deb")), scratch / "package"])
    made.directory.mkdir()
    shutil.copytree(scratch / "package/lib/modules", made.modules / "lib/modules")
    shutil.copy(next((scratch / "package/boot").glob("vmlinuz-*")), made.linux)
    run(["depmod", "--basedir", made.modules, package.removeprefix("linux-image-")])
    return made


def _add_firmware(scratch: Path, target: Path) -> None:
    """Debian has these packages in a component of its own, which the building machine may not use."""
    root = scratch / "firmware"
    components = "--components=main,non-free-firmware"
    run(["mmdebstrap", "--quiet", "--variant=extract", components, f"--include={','.join(FIRMWARE)}", SUITE, root])
    left_out = shutil.ignore_patterns(*DISPLAYS_AND_RADIO)
    shutil.copytree(root / "lib/firmware", target, symlinks=True, ignore=left_out)
