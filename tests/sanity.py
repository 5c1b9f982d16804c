"""csi-sanity, the storage drivers' own suite (github.com/kubernetes-csi/csi-test): built once a machine, and run."""

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
    """The program in the cache, built by Go when it is not there."""
    cache = Path(os.environ.get("MOORAGE_CACHE") or Path.home() / ".cache" / "moorage")
    built = cache / "tools" / f"csi-sanity-{VERSION}"
    built.parent.mkdir(parents=True, exist_ok=True)
    with built.with_name(f"{built.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(built)
    return built


def _build(into: Path) -> None:
    """Go's caches go with the folder."""
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

    `socket` is the driver's, `controller` that of its controller where it is another. `folder` is for the suite alone.
    `enter` stands before the command where all these are in a machine, the program too.
    """

    program: Path
    socket: Path
    folder: Path
    controller: Path | None = None
    flags: tuple[str, ...] = ()
    enter: tuple[str, ...] = ()

    def run(self, timeout: float = 600) -> tuple[bool, str]:
        """Whether all passed, and all that it said."""
        words = [
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
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
        return done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    print(f"csi-sanity: {program()}")
