"""A list of what Moorage may leave on a machine, so that tests can check that nothing of it exists."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path


def leftovers(state: Path, run: Path) -> list[str]:
    """Everything on this machine that belongs to the local cloud with this state and run folder; empty when clean."""
    return [
        *_folders(state, run),
        *_processes(str(state), str(run)),
        *_mounts(str(state)),
        *_loop_devices(str(state)),
        *_control_groups(state.name),
        *_links(),
        *(f"file {path}" for path in Path("/tmp").glob("neutron_*")),
    ]


def neighbours() -> list[int]:
    """Other processes in this network namespace: of a test that has its own, all that it started and that is not a
    machine."""
    here = os.readlink("/proc/self/ns/net")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and os.readlink(entry / "ns" / "net") == here:
                found.append(int(entry.name))
        except OSError:  # ended meanwhile
            continue
    return found


def _folders(*folders: Path) -> list[str]:
    return [f"folder {folder}" for folder in folders if folder.exists()]


def _processes(*words: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended meanwhile
            continue
        if any(word in command for word in words):
            found.append(f"process {entry.name}: {command[:120]}")
    return found


def _mounts(state: str) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line.split()[4]}" for line in lines if line.split()[4].startswith(state)]


def _loop_devices(state: str) -> list[str]:
    shown = subprocess.run(
        ["losetup", "--list", "--noheadings", "-O", "NAME,BACK-FILE"], capture_output=True, text=True, check=True
    )
    return [f"loop device {line}" for line in shown.stdout.splitlines() if state in line]


def _control_groups(name: str) -> list[str]:
    return [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/{name}") if path.is_dir()]


def _links() -> list[str]:
    return [f"link {name}" for _, name in socket.if_nameindex() if name.startswith(("tap", "br-", "ovs"))]
