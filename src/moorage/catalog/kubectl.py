"""The release's kubectl, for the demo's cluster."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moorage.catalog.names import CLUSTER
from moorage.kube.kubeconfig import KubeAccess
from moorage.model.errors import Failed


@dataclass(frozen=True)
class Kubectl:
    """kubectl with a kubeconfig of its own."""

    program: Path
    kubeconfig: Path

    def __call__(self, *words: str, given: str = "", hint: str = f"moorage cluster show {CLUSTER}") -> str:
        """Run it and return its output; `given` is its input. Failed with the tail of its error output."""
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"kubectl {words[0]} failed: {done.stderr.strip()[-500:]}", hint)
        return done.stdout


@contextmanager
def kubectl(cache: Path, access: KubeAccess) -> Iterator[Kubectl]:
    """Yield kubectl; its kubeconfig is a file that exists within the block only."""
    from moorage.image.release import find_release
    from moorage.kube import kubeconfig

    with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
        file.write(kubeconfig.text(kubeconfig.with_only(CLUSTER, access)))
        file.flush()
        yield Kubectl(find_release(cache).program("kubectl"), Path(file.name))
