"""Fixtures of all tests: a network namespace, folders and a cloud.

Tests with the marks functional, contract or e2e may start services and machines. They move to a new network namespace
first (docs/adr/0003), so that they do not collide with a running cloud and reach nothing outside.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from outside import remember

CLONE_NEWNET = 0x40000000  # linux/sched.h


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast kinds first; fail early when root is needed."""
    order = {"unit": 0, "contract": 1, "functional": 2, "e2e": 3}
    items.sort(key=lambda item: min((order[m.name] for m in item.iter_markers() if m.name in order), default=9))
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in order):
            raise pytest.UsageError(f"{item.nodeid} has none of the markers {', '.join(order)}")


@pytest.fixture(scope="session")
def own_network() -> None:
    """Move this process, and all that it starts from now on, into a new network namespace with a loopback."""
    if os.geteuid() != 0:
        pytest.fail("this test starts services and machines: run it as root")
    remember()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@dataclass(frozen=True)
class Home:
    """A user's home and the machine's folders, for tests: `environment` makes every program use them."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program with this home; its output in the error when it fails."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def moorage(self, *words: str, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `moorage` as a user does."""
        return self.run(sys.executable, "-m", "moorage.bootstrap", *words, timeout=timeout, check=check)

    def progress(self, seen: Callable[[subprocess.Popen[str], str], None], *words: str) -> tuple[int, str]:
        """Run `moorage`, showing each line of its progress to `seen` as it comes; its exit code and all it said."""
        reported = []
        with subprocess.Popen(
            [sys.executable, "-m", "moorage.bootstrap", *words],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            for line in running.stderr or ():
                reported.append(line)
                seen(running, line)
            return running.wait(timeout=300), "".join(reported)

    def programs(self) -> dict[str, dict[str, Any]]:
        """Every program of the cloud, by name; the command's own exit code says only that one of them is down."""
        listed = self.moorage("cloud", "status", "-o", "json", check=False).stdout
        return {row["name"]: row for row in json.loads(listed)}

    @property
    def clouds(self) -> Path:
        return self.folder / ".config" / "openstack" / "clouds.yaml"

    @property
    def state(self) -> Path:
        return Path(self.environment["MOORAGE_STATE"])

    @property
    def run_folder(self) -> Path:
        return Path(self.environment["MOORAGE_RUN"])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of the tests' own; the cache is the person's, so that nothing is built twice."""
    folder = tmp_path_factory.mktemp("home")
    cache = os.environ.get("MOORAGE_CACHE") or str(Path.home() / ".cache" / "moorage")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "XDG_", "KUBE"))}
    programs = str(Path(sys.executable).parent)
    environment = kept | {
        "HOME": str(folder),
        "MOORAGE_CACHE": cache,
        "MOORAGE_STATE": "/var/lib/moorage-test",
        "MOORAGE_RUN": "/run/moorage-test",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    return Home(folder, environment)


@pytest.fixture
def cloud_entry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The entry of clouds.yaml that contracts are tested on: MOORAGE_TEST_CLOUD, or a local cloud of the tests' own."""
    entry = os.environ.get("MOORAGE_TEST_CLOUD")
    if entry is None:
        home = request.getfixturevalue("cloud")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(home.clouds))
    return entry or "moorage"


@pytest.fixture(scope="session")
def cloud(own_network: None, home: Home) -> Iterator[Home]:
    """A local cloud with a node image, for the whole run; it is deleted at the end."""
    with Path("/run/lock/moorage-test.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of the tests has a cloud on this machine; wait for its end")
        home.moorage("cloud", "reset", "--yes")  # what an interrupted run left behind
        try:
            home.moorage("cloud", "up", timeout=600)
            home.moorage("--cloud", "moorage-admin", "image", "upload", "--for", "container")
            yield home
        finally:
            home.moorage("cloud", "reset", "--yes")
