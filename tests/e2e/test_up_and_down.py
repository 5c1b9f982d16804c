"""The two commands of the README: `make up`, and what comes after it. The last file by name, for it ends the cloud."""

from __future__ import annotations

import base64
import json
import os
import signal
import urllib.request
from contextlib import closing

import pytest
from pg8000.native import Connection

from moorage_leftovers import leftovers, neighbours

pytestmark = pytest.mark.e2e


def answer(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as reported:
        return reported.read().decode()


def up(cloud, timeout=600):
    return json.loads(cloud.moorage("demo", "up", "--output", "json", timeout=timeout).stdout)


def sql(cloud, made, *statements):
    """Ask the database from here, as anybody outside of the cluster would; what the last statement gives."""
    secret = json.loads(cloud.run("kubectl", "get", "secret", "postgres", "-o", "json").stdout)
    password = base64.b64decode(secret["data"]["password"]).decode()
    where = made["database"]
    with closing(
        Connection("postgres", host=where["host"], port=where["port"], password=password, timeout=20)
    ) as connection:
        return [connection.run(statement) for statement in statements][-1]


def end_everything_at_once(cloud):
    """`kill -9` for all: machines, services, switches, databases, and what watches over them."""
    machines = [json.loads(file.read_text())["pid"] for file in cloud.state.glob("machines/*/process.json")]
    assert len(machines) == 3
    services = neighbours()
    assert len(services) > 15
    for process in [*services, *machines]:
        os.kill(process, signal.SIGKILL)


def test_up_down_up_reset(cloud, run_cluster):
    """One test, because each step needs the one before: up, up again, down, up with the same data, the same after all
    processes were killed at once, reset. Each `up` that starts something adds a row to the database.
    """
    run_cluster.delete()  # of three machines, and the only cluster of the cloud
    first = up(cloud)
    assert answer(first["application"]).startswith("hello from hello-")
    nodes = {answer(first["application"]).split()[-1] for _ in range(40)}
    assert nodes == {"demo-workers-1-0", "demo-workers-1-1"}

    assert first["database"]["rows"] == 1
    sql(cloud, first, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('before down')")

    again = up(cloud)
    assert list(again["took"]) == ["everything was running"]
    assert again["database"] == first["database"]

    cloud.run("kubectl", "create", "configmap", "kept", "--from-literal=a=b")
    cloud.moorage("demo", "down", timeout=120)
    assert [left for left in leftovers(cloud.state, cloud.run_folder) if not left.startswith("folder")] == []

    back = up(cloud)
    assert back["application"] == first["application"]
    assert answer(back["application"]).startswith("hello from hello-")
    assert "kept" in cloud.run("kubectl", "get", "configmaps", "-o", "name").stdout
    assert back["database"]["host"] == first["database"]["host"]
    assert back["database"]["rows"] >= 2
    assert sql(cloud, back, "SELECT word FROM kept") == [["before down"]]

    sql(cloud, back, "INSERT INTO kept VALUES ('before the power cut')")
    end_everything_at_once(cloud)
    back = up(cloud)
    assert answer(back["application"]).startswith("hello from hello-")
    assert "kept" in cloud.run("kubectl", "get", "configmaps", "-o", "name").stdout
    assert back["database"]["host"] == first["database"]["host"]
    assert back["database"]["rows"] >= 3
    assert sql(cloud, back, "SELECT word FROM kept ORDER BY word") == [["before down"], ["before the power cut"]]

    cloud.moorage("demo", "reset", "--yes", timeout=120)
    assert leftovers(cloud.state, cloud.run_folder) == []
    assert neighbours() == []
    assert not (cloud.folder / ".config" / "openstack" / "clouds.yaml").exists()
