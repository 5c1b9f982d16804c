"""Real machines: they need root, boot a small Debian with systemd, and leave nothing on the host."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.local.machine import disks, life
from moorage.local.machine.host.linux import LinuxHost
from moorage.local.machine.host.port import Port
from moorage.local.machine.spec import Machine, load_all
from outside import outside
from waiting import until

PACKAGES = "systemd,systemd-sysv,iproute2,iputils-ping,e2fsprogs,mount,ethtool,python3,procps"
EXCLUDED = ("man", "locale", "doc", "info")
# A read-only root without console and udev needs less than the node image.
MASKED = ("systemd-udevd", "systemd-udev-trigger", "systemd-firstboot", "systemd-remount-fs", "getty@", "console-getty")


@pytest.fixture(scope="session")
def root_image() -> Path:
    """A Debian root with systemd as a squashfs, built once and kept in the cache."""
    if os.geteuid() != 0:
        pytest.fail("these tests start machine containers: run them as root")
    cache = Path(os.environ.get("MOORAGE_CACHE", "~/.cache/moorage")).expanduser() / "test-root"
    file = cache / "debian-2.squashfs"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _create_root_image(cache, file)
    return file


def _create_root_image(cache: Path, file: Path) -> None:
    tree = cache / f"tree-{os.getpid()}"
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in EXCLUDED]
    try:
        words = (
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={PACKAGES}",
            *excluded,
            "bookworm",
            str(tree),
        )
        run(*outside(*words))
        for name in MASKED:
            (tree / f"etc/systemd/system/{name}.service").symlink_to("/dev/null")
        (tree / "etc/machine-id").write_text("")
        (tree / "etc/hostname").unlink()  # the host sets the name
        (tree / "etc/systemd/system/default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
        run(
            "mksquashfs",
            str(tree),
            f"{file}.new",
            "-quiet",
            "-no-progress",
            "-comp",
            "zstd",
            "-Xcompression-level",
            "3",
        )
        os.rename(f"{file}.new", file)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def run(*words: str) -> str:
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words)}: {result.stderr}"
    return result.stdout


class NoSwitch(LinuxHost):
    """A host that creates interfaces without plugging them into a switch."""

    def plug(self, port: Port) -> None:
        """Do nothing: this host has no switch."""

    def unplug(self, name: str) -> None:
        """Do nothing: the interface is not plugged."""


class Sandbox:
    """Creates machines below one folder, runs programs in them, and removes them."""

    def __init__(self, state: Path, image: Path, host: LinuxHost) -> None:
        self.state, self.host = state, host
        self.parent = f"moorage-test-{os.getpid()}"
        state.mkdir()
        self.image = state / "image.squashfs"
        shutil.copy(image, self.image)

    def create(self, name: str = "m", **overrides: object) -> Machine:
        machine_id = str(uuid.uuid4())
        sizes = {"cpus": 1, "memory": 512, "disk": 1, **overrides}
        machine = Machine(machine_id, name, str(self.state / machine_id), "test-1", cgroup_parent=self.parent, **sizes)
        life.create(machine, self.image, {"openstack/latest/user_data": b"hello"})
        return machine

    def start(self, machine: Machine) -> int:
        return life.start(machine, self.host)

    def inside(self, machine: Machine, *words: str) -> str:
        """Run a program inside a running machine, in all of its namespaces."""
        pid = life.pid(machine)
        assert pid is not None, f"{machine.hostname} does not run"
        return run("nsenter", "--target", str(pid), "--all", "--", *words).strip()

    def boot(self, machine: Machine) -> None:
        """Start a machine and wait until systemd has reached its target."""
        self.start(machine)
        self.wait_until_booted(machine)

    def wait_until_booted(self, machine: Machine) -> None:
        until(lambda: life.pid(machine) is not None and self._is_up(machine), seconds=20)

    def _is_up(self, machine: Machine) -> bool:
        words = ["nsenter", "-t", str(life.pid(machine)), "--all", "systemctl", "is-active", "multi-user.target"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() == "active"

    def remove_all(self) -> None:
        for machine in load_all(self.state):
            life.remove(machine, self.host)
        disks.unmount_slots(self.state)

    def leftovers(self) -> list[str]:
        """List the mounts, loop devices and control groups of the sandbox's machines that still exist."""
        below = str(self.state)
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if below in line]
        loops = [line for line in run("losetup", "--list", "--noheadings").splitlines() if below in line]
        groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{self.parent}")]
        return mounts + loops + groups


@pytest.fixture
def sandbox(tmp_path: Path, root_image: Path) -> Iterator[Sandbox]:
    created = Sandbox(tmp_path / "machines", root_image, NoSwitch())
    yield created
    created.remove_all()
    assert created.leftovers() == []
