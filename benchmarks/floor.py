"""`python -m benchmarks.floor [WORKERS]`: a cluster's floor, in seconds.

The same machine containers, image and programs as a cluster of the local cloud, on a plain Linux bridge and without
OpenStack: from the first machine's start until the last node is Ready. Needs root and the node image; runs in its own
network namespace.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lab import Lab
from moorage.config import Paths
from moorage.image.node_image import build_image
from moorage.image.release import find_release

WORKERS = 2


def floor(workers: int) -> float:
    """Seconds for one control-plane node and that many workers."""
    cache = Paths.from_environment(os.environ).cache
    lab = Lab(build_image(cache, find_release(cache), lambda text: None))
    names = ["lab-control-plane-0", *(f"lab-worker-{number}" for number in range(workers))]
    try:
        began = time.monotonic()
        for number, name in enumerate(names):
            role = "worker" if number else "control-plane"
            lab.boot(name, f"10.66.0.{10 + number}", lab.user_data(role))
        return max(lab.signal_of(name)["at"] for name in names) - began
    finally:
        lab.close()


def measured(workers: int) -> float:
    """The floor, measured by a separate process in its own network namespace."""
    command = ["unshare", "--net", sys.executable, "-m", "benchmarks.floor", "--inside", str(workers)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        print(floor(int(sys.argv[2])))
    else:
        print(f"{measured(int(sys.argv[1]) if len(sys.argv) > 1 else WORKERS):.1f} s")
