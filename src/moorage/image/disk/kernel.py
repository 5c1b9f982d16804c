"""Debian's kernel with its modules."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from moorage.image import squash
from moorage.image.run import run
from moorage.model.errors import Failed


class Hardware(StrEnum):
    """What a disk boots: virtual machines, or metal too."""

    SERVER = "server"
    METAL = "metal"


PACKAGES = {Hardware.SERVER: "linux-image-cloud-amd64", Hardware.METAL: "linux-image-amd64"}


@dataclass(frozen=True)
class Kernel:
    """A kernel in a folder of the cache: `linux`, `modules.squashfs`, and `modules`, which has the same, unpacked."""

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
        return next((self.modules / "lib/modules").iterdir()).name


def fetch_kernel(folder: Path, hardware: Hardware, report: Callable[[str], None]) -> Kernel:
    """The newest kernel of Debian's archive, downloaded if the cache does not have it. Needs root."""
    try:
        return _fetch(folder, PACKAGES[hardware], report)
    except Failed:  # apt has no list of the archive, or an old one
        run(["apt-get", "update", "-q"], "building a disk image needs Debian's archive")
        return _fetch(folder, PACKAGES[hardware], report)


def _fetch(folder: Path, metapackage: str, report: Callable[[str], None]) -> Kernel:
    package, version = newest(metapackage)
    directory = folder / f"{package.removeprefix('linux-image-')}_{version}"
    if directory.exists():
        return Kernel(directory)
    report(f"disk image: downloading {package} {version}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="kernel-") as scratch:
        _unpack(Path(scratch), package, version)
        (Path(scratch) / "made").rename(directory)
    return Kernel(directory)


def newest(package: str) -> tuple[str, str]:
    """The package that a kernel's metapackage depends on, and its version; Failed when apt does not know them."""
    depends = run(["apt-cache", "depends", package])
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    version = found and re.search(r"Candidate: (\S+)", run(["apt-cache", "policy", found[1]]))
    if not found or not version:
        raise Failed(f"Debian's archive has no {package}", "apt-get update")
    return found[1], version[1]


def _unpack(scratch: Path, package: str, version: str) -> None:
    scratch.chmod(0o755)
    run(["env", "-C", scratch, "apt-get", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}"])
    made = scratch / "made"
    run(["dpkg-deb", "--extract", next(scratch.glob("*.deb")), scratch / "package"])
    made.mkdir()
    shutil.copytree(scratch / "package/lib/modules", made / "modules/lib/modules")
    shutil.copy(next((scratch / "package/boot").glob("vmlinuz-*")), made / "linux")
    run(["depmod", "--basedir", made / "modules", next((made / "modules/lib/modules").iterdir()).name])
    squash.pack(made / "modules/lib/modules", made / "modules.squashfs")
