"""Attach and detach volumes and interfaces, on running machines and a separate, real Open vSwitch."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.host import kernel
from moorage.local.machine import attach, life
from moorage.local.machine.host import loops
from moorage.local.machine.host.linux import LinuxHost
from moorage.local.machine.spec import Machine, Nic, Volume, load
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(120)]


def volume_file(folder: Path, mebibytes: int = 64) -> Path:
    file = folder / str(uuid.uuid4())
    with file.open("wb") as opened:
        opened.truncate(mebibytes * 2**20)
    return file


@pytest.fixture
def volume(sandbox: Any, tmp_path: Path) -> Iterator[Volume]:
    file = volume_file(tmp_path)
    yield Volume("8f9e0d1c-2b3a-4958-8776-655443322110", str(file), "vdb")
    sandbox.remove_all()
    assert loops.devices(file) == [], "a loop device remains"


BY_ID = "/dev/disk/by-id/virtio-8f9e0d1c-2b3a-4958-8"


def test_attach_and_detach_volume_while_running(sandbox: Any, volume: Volume) -> None:
    machine = sandbox.create()
    sandbox.boot(machine)
    attach.attach_volume(machine, volume, sandbox.host)
    sandbox.inside(machine, "mkfs.ext4", "-q", BY_ID)
    sandbox.inside(machine, "sh", "-c", "mkdir /var/v && mount /dev/vdb /var/v && echo kept > /var/v/file")
    sandbox.inside(machine, "umount", "/var/v")
    attach.detach_volume(machine, volume, sandbox.host)
    assert sandbox.inside(machine, "sh", "-c", f"ls /dev/vdb {BY_ID} 2>/dev/null || true") == ""
    attach.attach_volume(machine, volume, sandbox.host)
    attach.attach_volume(machine, volume, sandbox.host)
    assert sandbox.inside(machine, "sh", "-c", "mount /dev/vdb /var/v && cat /var/v/file; umount /var/v") == "kept"
    assert load(machine.path).volumes == (volume,)
    attach.detach_volume(machine, volume, sandbox.host)
    attach.detach_volume(machine, volume, sandbox.host)
    assert load(machine.path).volumes == ()


def test_volumes_are_attached_after_restart(sandbox: Any, volume: Volume) -> None:
    machine = sandbox.create()
    attach.attach_volume(machine, volume, sandbox.host)  # the machine does not run yet
    sandbox.boot(load(machine.path))
    assert sandbox.inside(machine, "readlink", "-f", BY_ID) == "/dev/vdb"
    life.stop(machine, sandbox.host)
    sandbox.boot(load(machine.path))
    assert sandbox.inside(machine, "readlink", "-f", BY_ID) == "/dev/vdb"


def test_grow_attached_volume(sandbox: Any, volume: Volume) -> None:
    machine = sandbox.create()
    sandbox.boot(machine)
    attach.attach_volume(machine, volume, sandbox.host)
    os.truncate(volume.path, 128 * 2**20)
    loops.grow(volume.path)
    assert sandbox.inside(machine, "blockdev", "--getsize64", "/dev/vdb") == str(128 * 2**20)


@pytest.fixture
def network() -> Iterator[None]:
    """Move this thread into its own network namespace: each can have only one userspace switch."""
    original = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    kernel.unshare(kernel.NEWNET)
    try:
        yield
    finally:
        kernel.setns(f"/proc/self/fd/{original}", kernel.NEWNET)
        os.close(original)


@pytest.fixture
def ovs(network: None, sandbox: Any, tmp_path: Path) -> Iterator[LinuxHost]:
    """A separate Open vSwitch with one bridge on the userspace datapath; the sandbox plugs its machines into it."""
    database, socket, quiet = tmp_path / "conf.db", f"unix:{tmp_path}/db.sock", "--verbose=off"
    subprocess.run(["ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema"], check=True)
    server = subprocess.Popen(["ovsdb-server", database, f"--remote=p{socket}", f"--unixctl={tmp_path}/d.ctl", quiet])
    daemon = subprocess.Popen(["ovs-vswitchd", socket, f"--unixctl={tmp_path}/s.ctl", quiet])
    vsctl = ["ovs-vsctl", "--retry", "-t20", f"--db={socket}"]
    subprocess.run([*vsctl, "init"], check=True)
    subprocess.run([*vsctl, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"], check=True)
    sandbox.host = LinuxHost(socket, "br0", "netdev")
    try:
        yield sandbox.host
    finally:
        sandbox.remove_all()
        for process in (daemon, server):
            process.terminate()
            process.wait(20)


def nic(number: int) -> Nic:
    return Nic(str(uuid.uuid4()), f"fa:16:3e:00:00:{number:02x}", 1400, "")


def add_address(sandbox: Any, machine: Machine, name: str, ip: str) -> None:
    sandbox.inside(machine, "ip", "address", "add", f"{ip}/24", "dev", name)
    sandbox.inside(machine, "ip", "link", "set", name, "up")


def can_reach(sandbox: Any, machine: Machine, ip: str) -> bool:
    deadline = time.monotonic() + 15
    words = ["nsenter", "-t", str(life.pid(machine)), "--all", "ping", "-c1", "-W1", ip]
    while subprocess.run(words, check=False, capture_output=True).returncode != 0:
        if time.monotonic() > deadline:
            return False
    return True


def test_attach_interfaces_while_running(sandbox: Any, ovs: LinuxHost) -> None:
    machines = [sandbox.create(f"m{number}") for number in range(2)]
    nics = [nic(number) for number in range(2)]
    for number, (machine, card) in enumerate(zip(machines, nics, strict=True)):
        sandbox.boot(machine)
        attach.attach_nic(machine, card, ovs)
        attach.attach_nic(machine, card, ovs)
        add_address(sandbox, machine, "eth0", f"10.9.9.{number + 1}")
    assert ovs.ports() == {card.tap for card in nics}
    assert sandbox.inside(machines[0], "cat", "/sys/class/net/eth0/address") == "fa:16:3e:00:00:00"
    assert sandbox.inside(machines[0], "cat", "/sys/class/net/eth0/mtu") == "1400"
    assert can_reach(sandbox, machines[0], "10.9.9.2")
    code = "import socket; s=socket.create_server(('10.9.9.2',99)); c,_=s.accept(); print(len(c.recv(9,256)))"
    server = subprocess.Popen(
        ["nsenter", "-t", str(life.pid(machines[1])), "--all", "python3", "-c", code], stdout=subprocess.PIPE
    )
    sandbox.inside(
        machines[0],
        "python3",
        "-c",
        "import socket,time\nfor _ in range(50):\n try: s=socket.create_connection(('10.9.9.2',99),1); break\n"
        " except OSError: time.sleep(.1)\ns.sendall(b'123456789')",
    )
    assert server.communicate(timeout=20)[0].strip() == b"9", "TCP needs checksums, which the interfaces must compute"
    attach.detach_nic(machines[0], nics[0].port, ovs)
    assert sandbox.inside(machines[0], "ls", "/sys/class/net") == "lo"
    assert ovs.ports() == {nics[1].tap}


def test_attached_port_is_bound_in_ovn(sandbox: Any, ovs: LinuxHost) -> None:
    card = nic(0)
    machine = sandbox.create(nics=(Nic(card.port, card.mac, 1400, "eth0"),))
    sandbox.boot(machine)
    words = ["ovs-vsctl", f"--db={ovs.database}", "get", "Interface", card.tap, "external_ids"]
    ids = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert f'iface-id="{card.port}"' in ids
    assert f'attached-mac="{card.mac}"' in ids
    assert f'vm-id="{machine.id}"' in ids
    life.kill(machine, sandbox.host)
    sandbox.boot(machine)
    assert sandbox.inside(machine, "cat", "/sys/class/net/eth0/address") == card.mac
    life.remove(machine, ovs)
    assert ovs.ports() == set()
    assert card.tap not in ovs.links()
    assert not Path(f"/run/netns/{machine.namespace}").exists()


def test_restarted_machine_has_clean_network(sandbox: Any, ovs: LinuxHost) -> None:
    card = nic(0)
    machine = sandbox.create(nics=(Nic(card.port, card.mac, 1400, "eth0"),))
    sandbox.boot(machine)
    add_address(sandbox, machine, "eth0", "10.9.9.1")
    sandbox.inside(machine, "ip", "link", "add", "leftover", "type", "bridge")
    sandbox.inside(machine, "systemctl", "reboot", "--no-block")
    first = life.pid(machine)
    until(lambda: life.pid(machine) not in (first, None), seconds=20)
    sandbox.wait_until_booted(machine)
    assert sorted(sandbox.inside(machine, "ls", "/sys/class/net").split()) == ["eth0", "lo"]
    assert sandbox.inside(machine, "ip", "-4", "-o", "address", "show", "dev", "eth0") == ""
