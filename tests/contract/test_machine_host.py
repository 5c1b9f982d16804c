"""The port `Host`: the Linux adapter and the in-memory adapter pass the same tests."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.host import kernel
from moorage.host.run import HostError
from moorage.local.machine.host.linux import LinuxHost
from moorage.local.machine.host.memory import MemoryHost
from moorage.local.machine.host.port import Cgroup, Host, Port, VethPair
from waiting import until

pytestmark = pytest.mark.contract

NAME = f"moorage-try-{os.getpid()}"
PAIR = VethPair("taptry0", "eth0", "fa:16:3e:00:00:01", 1400)
OTHER = VethPair("taptry1", "eth0", "fa:16:3e:00:00:02", 1400)


@pytest.fixture(params=["linux", "memory"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    if request.param == "memory":
        yield MemoryHost()
        return
    if os.geteuid() != 0:
        pytest.fail("the real Linux needs root")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    kernel.unshare(kernel.NEWNET)
    database, socket = str(tmp_path / "conf.db"), f"unix:{tmp_path}/db.sock"
    subprocess.run(["ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema"], check=True)
    server = subprocess.Popen(["ovsdb-server", database, f"--remote=p{socket}", "--unixctl=none", "--verbose=off"])
    vsctl = ["ovs-vsctl", "--retry", "--no-wait", "-t20", f"--db={socket}"]
    try:
        subprocess.run([*vsctl, "init"], check=True)
        subprocess.run([*vsctl, "add-br", "br-try"], check=True)
        yield LinuxHost(socket, "br-try", "netdev")
    finally:
        linux = LinuxHost(socket, "br-try", "netdev")
        linux.remove_namespace(NAME)
        for name in linux.cgroups(NAME):
            linux.remove_cgroup(Cgroup(NAME, name))
        server.terminate()
        server.wait(20)
        kernel.setns(f"/proc/self/fd/{before}", kernel.NEWNET)
        os.close(before)


@pytest.fixture
def file(tmp_path: Path, host: Host) -> Iterator[Path]:
    file = tmp_path / str(uuid.uuid4())
    file.write_bytes(bytes(2**20))
    yield file
    host.detach_loop(file)


def test_attach_loop_twice_gives_one_device(host: Host, file: Path) -> None:
    assert host.loops(file) == []
    host.attach_loop(file)
    host.attach_loop(file)
    assert len(host.loops(file)) == 1
    host.grow_loop(file)
    host.detach_loop(file)
    host.detach_loop(file)
    assert host.loops(file) == []


def test_attach_loop_two_files_gives_two_devices(host: Host, file: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.write_bytes(bytes(2**20))
    host.attach_loop(file)
    host.attach_loop(second)
    assert host.loops(file) != host.loops(second)
    host.detach_loop(second)
    assert len(host.loops(file)) == 1


def test_attach_loop_missing_file_is_reported(host: Host, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="missing"):
        host.attach_loop(tmp_path / "missing")


def test_add_and_remove_namespace(host: Host) -> None:
    for _ in range(2):
        host.add_namespace(NAME)
        assert NAME in host.namespaces()
    for _ in range(2):
        host.remove_namespace(NAME)
        assert NAME not in host.namespaces()


def test_add_veth_pair_creates_host_interface(host: Host) -> None:
    host.add_namespace(NAME)
    for _ in range(2):
        host.add_veth_pair(PAIR, NAME)
        assert PAIR.name in host.links()
    for _ in range(2):
        host.remove_link(PAIR.name)
        assert PAIR.name not in host.links()
    host.add_veth_pair(PAIR, NAME)
    assert PAIR.name in host.links()


def test_add_veth_pair_without_namespace_fails(host: Host) -> None:
    with pytest.raises(HostError, match=NAME):
        host.add_veth_pair(PAIR, NAME)
    assert PAIR.name not in host.links()


def test_add_veth_pair_with_existing_peer_fails(host: Host) -> None:
    host.add_namespace(NAME)
    host.add_veth_pair(PAIR, NAME)
    with pytest.raises(HostError, match="exist"):
        host.add_veth_pair(OTHER, NAME)
    assert OTHER.name not in host.links()


def test_remove_namespace_deletes_veth_pairs(host: Host) -> None:
    host.add_namespace(NAME)
    host.add_veth_pair(PAIR, NAME)
    host.plug(Port(PAIR.name, {"iface-id": "one"}))
    host.remove_namespace(NAME)
    until(lambda: PAIR.name not in host.links(), seconds=10)
    assert PAIR.name in host.ports(), "a port is kept until it is unplugged"
    host.unplug(PAIR.name)


def test_plug_and_unplug_port(host: Host) -> None:
    for number in range(2):
        host.plug(Port("taptry0", {"iface-id": f"port-{number}", "attached-mac": PAIR.mac}))
        assert "taptry0" in host.ports()
    for _ in range(2):
        host.unplug("taptry0")
        assert "taptry0" not in host.ports()


def test_add_and_remove_cgroup(host: Host) -> None:
    group = Cgroup(NAME, "one")
    for cpus in (1, 2):
        host.add_cgroup(group, cpus, 256)
        assert host.cgroups(NAME) == {"one"}
    assert host.processes(group) == set()
    for _ in range(2):
        host.remove_cgroup(group)
        assert host.cgroups(NAME) == set()
    assert host.processes(group) == set()
