"""A machine's host resources, with a fake host in memory. The tests start no process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moorage.host.run import HostError
from moorage.local.machine import attach, disks, life
from moorage.local.machine.host.memory import MemoryHost
from moorage.local.machine.host.port import Cgroup
from moorage.local.machine.spec import Machine, Nic, Volume, load

pytestmark = pytest.mark.unit

NICS = tuple(Nic(f"0000000{n}-aaaa", f"fa:16:3e:00:00:0{n}", 1442, f"eth{n}") for n in range(2))


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    file = tmp_path / "volume"
    file.touch()
    return Volume("8f9e0d1c-2b3a-4958-8776-655443322110", str(file), "vdb")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(disks, "create_disk", lambda machine: None)
    monkeypatch.setattr(life, "_launch", lambda machine: 4711)
    image = tmp_path / "image"
    image.touch()
    created = Machine("m", "m", str(tmp_path / "machines/m"), "12-1", 2, 2048, 10, "moorage", NICS)
    life.create(created, image, {"openstack/latest/user_data": b"hello"})
    return created


def test_make_uses_no_host_resources(machine: Machine, host: MemoryHost) -> None:
    assert (machine.config_drive / "openstack/latest/user_data").read_bytes() == b"hello"
    assert load(machine.path) == machine
    assert host.is_empty


def test_start_allocates_host_resources(machine: Machine, host: MemoryHost, volume: Volume) -> None:
    attach.attach_volume(machine, volume, host)
    assert life.start(load(machine.path), host) == 4711
    assert host.limits == {Cgroup("moorage", "m"): (2, 2048)}
    assert host.namespaces() == {"moorage-m"}
    assert host.ports() == {nic.tap for nic in NICS}
    assert host.switch_ports[NICS[0].tap].ids == {
        "iface-id": NICS[0].port,
        "attached-mac": NICS[0].mac,
        "vm-id": "m",
        "iface-status": "active",
    }
    assert host.loops(Path(volume.path))


def test_start_again_allocates_nothing(machine: Machine, host: MemoryHost) -> None:
    life.start(machine, host)
    before = (set(host.veth_pairs), host.ports(), host.namespaces())
    life.start(machine, host)
    assert (set(host.veth_pairs), host.ports(), host.namespaces()) == before


def test_failed_start_can_be_repeated(machine: Machine, host: MemoryHost, tmp_path: Path) -> None:
    broken = replace(machine, volumes=(Volume("v", str(tmp_path / "missing"), "vdb"),))
    with pytest.raises(HostError, match="No such file"):
        life.start(broken, host)
    (tmp_path / "missing").touch()
    assert life.start(broken, host) == 4711


def test_remove_leaves_nothing(machine: Machine, host: MemoryHost, volume: Volume) -> None:
    attach.attach_volume(machine, volume, host)
    life.start(load(machine.path), host)
    saved = load(machine.path)
    for _ in range(2):
        life.remove(saved, host)
        assert host.is_empty
        assert not machine.path.exists()


def test_stop_all_keeps_folders_and_ports(machine: Machine, host: MemoryHost) -> None:
    life.start(machine, host)
    life.stop_all(machine.path.parent, host)
    assert machine.path.exists()
    assert host.ports() == {nic.tap for nic in NICS}, "the switch is stopped separately; a start plugs again"
    host.switch_ports.clear()
    assert host.is_empty


def test_interface_gets_first_free_name(machine: Machine, host: MemoryHost) -> None:
    attach.detach_nic(machine, NICS[0].port, host)
    attach.attach_nic(machine, Nic("00000009-aaaa", "fa:16:3e:00:00:09", 1442, ""), host)
    assert [(nic.name, nic.port) for nic in load(machine.path).nics] == [
        ("eth1", NICS[1].port),
        ("eth0", "00000009-aaaa"),
    ]


def test_attach_twice_and_detach_twice(machine: Machine, host: MemoryHost, volume: Volume) -> None:
    for _ in range(2):
        attach.attach_volume(machine, volume, host)
        assert load(machine.path).volumes == (volume,)
    for _ in range(2):
        attach.detach_volume(machine, volume, host)
        assert load(machine.path).volumes == ()
    assert host.is_empty
