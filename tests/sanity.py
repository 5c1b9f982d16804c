"""Build csi-sanity (github.com/kubernetes-csi/csi-test), the test suite of CSI drivers, and run it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from outside import outside

VERSION = "5.6.0"
PACKAGE = f"github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v{VERSION}"


def program() -> Path:
    """The program's path in the cache, once per machine; Go builds it when it does not exist."""
    cache = Path(os.environ.get("MOORAGE_CACHE") or Path.home() / ".cache" / "moorage")
    binary = cache / "tools" / f"csi-sanity-{VERSION}"
    binary.parent.mkdir(parents=True, exist_ok=True)
    with binary.with_name(f"{binary.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            _build(binary)
    return binary


def _build(into: Path) -> None:
    """Build in a temporary folder, so that Go's caches are deleted with it."""
    with tempfile.TemporaryDirectory(dir=into.parent) as folder:
        settings = {
            "CGO_ENABLED": "0",
            "GOBIN": folder,
            "GOCACHE": f"{folder}/build",
            "GOFLAGS": "-p=1 -trimpath -modcacherw",
            "GOMODCACHE": f"{folder}/mod",
        }
        subprocess.run(outside("go", "install", PACKAGE), env=os.environ | settings, check=True, timeout=3600)
        Path(folder, "csi-sanity").replace(into)


@dataclass(frozen=True)
class Suite:
    """The suite, ready to run.

    `socket` is the driver's, `controller` the controller's if that is another. Only the suite uses `folder`. `enter` is
    the command that enters the machine, if the program, the sockets and the folder are in one.
    """

    program: Path
    socket: Path
    folder: Path
    controller: Path | None = None
    flags: tuple[str, ...] = ()
    enter: tuple[str, ...] = ()

    def run(self, timeout: float = 600) -> tuple[bool, str]:
        """Whether all tests passed, and the output."""
        command = [
            *self.enter,
            str(self.program),
            f"-csi.endpoint=unix://{self.socket}",
            f"-csi.controllerendpoint=unix://{self.controller or self.socket}",
            f"-csi.mountdir={self.folder}/mount",
            f"-csi.stagingdir={self.folder}/staging",
            "-csi.testvolumesize=1073741824",
            "-csi.testvolumeexpandsize=2147483648",
            "-ginkgo.no-color",
            "-ginkgo.v",
            *self.flags,
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        return result.returncode == 0, result.stdout + result.stderr


if __name__ == "__main__":
    print(f"csi-sanity: {program()}")
