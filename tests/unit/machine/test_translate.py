"""The translation of Nova's objects."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moorage.local.machine import inside, translate
from moorage.local.machine.spec import Volume

pytestmark = pytest.mark.unit

INSTANCE = SimpleNamespace(
    uuid="11111111-2222-3333-4444-555555555555",
    hostname="demo-worker-0",
    flavor=SimpleNamespace(vcpus=2, memory_mb=2048, root_gb=10),
)


def vif(meta: dict[str, Any] | None) -> dict[str, Any]:
    return {"id": "port", "address": "fa:16:3e:00:00:01", "network": {"meta": meta}}


def connection(kind: str = "moorage_file", **fields: Any) -> dict[str, Any]:
    return {"driver_volume_type": kind, "data": {"path": "/volumes/v", "volume_id": "of-the-data"}, **fields}


def test_instance_becomes_machine_of_flavors_size() -> None:
    image = {"id": "image", "properties": {"moorage_version": "12-1"}}
    machine = translate.machine(INSTANCE, image, [vif({"mtu": 1400}), vif(None)], Path("/state"), "moorage")
    assert (machine.id, machine.hostname, machine.folder) == (INSTANCE.uuid, "demo-worker-0", f"/state/{INSTANCE.uuid}")
    assert (machine.cpus, machine.memory, machine.disk, machine.version) == (2, 2048, 10, "12-1")
    assert [(nic.name, nic.mtu) for nic in machine.nics] == [("eth0", 1400), ("eth1", translate.DEFAULT_MTU)]


@pytest.mark.parametrize("properties", [{}, None, {"os_distro": "debian"}])
def test_foreign_image_is_named_by_id(properties: dict[str, str] | None) -> None:
    assert translate.image_version({"id": "image", "properties": properties}) == "image"


def test_flavor_without_disk_gets_smallest() -> None:
    flavor = SimpleNamespace(vcpus=1, memory_mb=512, root_gb=0)
    instance = SimpleNamespace(uuid="u", hostname="h", flavor=flavor)
    assert translate.machine(instance, {"id": "i"}, [], Path("/state"), "moorage").disk == 1


def test_connection_becomes_volume() -> None:
    assert translate.volume(connection(serial="s"), "/dev/vdb") == Volume("s", "/volumes/v", "vdb")
    assert translate.volume(connection(), "/dev/vdc").id == "of-the-data"


def test_volume_that_is_not_a_file_is_rejected() -> None:
    with pytest.raises(translate.Unsupported, match="a volume of type iscsi cannot be attached here"):
        translate.volume(connection("iscsi"), "/dev/vdb")


def test_meminfo_shows_flavors_memory() -> None:
    lines = dict(line.split(":") for line in inside.meminfo(2048).splitlines())
    assert lines["MemTotal"].split() == ["2097152", "kB"]
    assert lines["SwapTotal"].split() == ["0", "kB"]
