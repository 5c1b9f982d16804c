"""The two commands of the README: `make up`, and what comes after it. The last file by name, for it ends the cloud."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest

from moorage_leftovers import leftovers, neighbours

pytestmark = pytest.mark.e2e


def answer(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as said:
        return said.read().decode()


def up(cloud, timeout=600):
    return json.loads(cloud.moorage("demo", "up", "--output", "json", timeout=timeout).stdout)


def end_everything_at_once(cloud):
    """`kill -9` for all: machines, services, switches, databases, and what watches over them."""
    machines = [json.loads(file.read_text())["pid"] for file in cloud.state.glob("machines/*/process.json")]
    assert len(machines) == 3
    services = neighbours()
    assert len(services) > 15
    for process in [*services, *machines]:
        os.kill(process, signal.SIGKILL)


def test_up_down_up_reset(cloud):
    """One test, for each step needs the one before: up, up again, down, up with the same data, the same after all
    processes are gone at once, reset."""
    first = up(cloud)
    assert answer(first["application"]).startswith("hello from hello-")
    nodes = {answer(first["application"]).split()[-1] for _ in range(40)}
    assert nodes == {"demo-default-worker-0", "demo-default-worker-1"}

    again = up(cloud)
    assert list(again["took"]) == ["everything ran already"]

    cloud.run("kubectl", "create", "configmap", "kept", "--from-literal=a=b")
    cloud.moorage("demo", "down", timeout=120)
    assert [left for left in leftovers(cloud.state, cloud.run_folder) if not left.startswith("folder")] == []

    back = up(cloud)
    assert back["application"] == first["application"]
    assert answer(back["application"]).startswith("hello from hello-")
    assert "kept" in cloud.run("kubectl", "get", "configmaps", "-o", "name").stdout

    end_everything_at_once(cloud)
    back = up(cloud)
    assert answer(back["application"]).startswith("hello from hello-")
    assert "kept" in cloud.run("kubectl", "get", "configmaps", "-o", "name").stdout

    cloud.moorage("demo", "reset", "--yes", timeout=120)
    assert leftovers(cloud.state, cloud.run_folder) == []
    assert neighbours() == []
    assert not (cloud.folder / ".config" / "openstack" / "clouds.yaml").exists()
