"""A container image for tests, in the local cloud's registry."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from moorage.image.containers import ContainerImage, File, Link, write_archive

REGISTRY = "172.24.4.1:5080"
MIRROR = f"tests.local=http://{REGISTRY}"
BUSYBOX = "tests.local/busybox:1"
APPLETS = ("sh", "cat", "dd", "df", "echo", "httpd", "ls", "mkdir", "nslookup", "sleep", "stat", "sync", "touch")


def push_busybox() -> str:
    """Build it, push it; its name as clusters made with MIRROR pull it."""
    entries = (File("bin/busybox", Path("/bin/busybox")), *(Link(f"bin/{name}", "busybox") for name in APPLETS))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "busybox.tar"
        write_archive(ContainerImage(BUSYBOX, entries, ("/bin/sh",)), archive)
        words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        target = f"docker://{REGISTRY}/{BUSYBOX.partition('/')[2]}"
        subprocess.run([*words, f"docker-archive:{archive}", target], check=True, capture_output=True, timeout=60)
    return BUSYBOX
