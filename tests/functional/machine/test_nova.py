"""Servers of the real Nova: requests for a server act on its machine container."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keystoneauth1.exceptions
import openstack
import pytest

import rows
import waiting
from moorage.local.machine import life
from moorage.local.machine.host import loops
from moorage.local.machine.spec import Machine, load

pytestmark = [
    pytest.mark.functional,
    pytest.mark.cloud,
    pytest.mark.timeout(300),
    # The SDK warns about its own settings, which the tests do not change, and does not close the file that it uploads.
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::PendingDeprecationWarning",
        "ignore:.*/noise:pytest.PytestUnraisableExceptionWarning",
    ),
]
until = partial(waiting.until, seconds=30)
UNREACHABLE = (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException)


class Tenant:
    """A user of the tests' cloud, with a network and an image, and with access to machines from the host."""

    def __init__(self, home: Any) -> None:
        self.home = home
        config = str(Path(home.environment["HOME"]) / ".config/openstack/clouds.yaml")
        os.environ["OS_CLIENT_CONFIG_FILE"] = config
        self.cloud = openstack.connect(cloud="moorage")
        self.machines = home.state / "machines"

    def machine(self, server: Any) -> Machine:
        return load(self.machines / server.id)

    def pid(self, server: Any) -> int | None:
        return life.pid(self.machine(server))

    def inside(self, server: Any, command: str) -> str:
        words = ["nsenter", "-t", str(self.pid(server)), "--all", "--", "sh", "-c", command]
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout.strip()

    def wait_until_booted(self, server: Any) -> None:
        until(lambda: self.pid(server) is not None)
        until(lambda: self.inside(server, "systemctl is-active multi-user.target || true") == "active")

    def status(self, server: Any) -> str:
        return str(self.cloud.compute.get_server(server.id).status)

    def status_if_up(self, server: Any) -> str:
        """Return the server's status, or the reason why Nova does not return it now."""
        try:
            return self.status(server)
        except UNREACHABLE as unreachable:
            return str(unreachable)

    def wait_for_status(self, server: Any, status: str, seconds: float = 60) -> None:
        until(lambda: self.status(server), lambda current: current == status, seconds=seconds)

    def server(self, image: Any, network: Any, flavor: str = "m1.small", **arguments: Any) -> Any:
        flavor_record = self.cloud.compute.find_flavor(flavor)
        return self.cloud.compute.create_server(
            name="try-1", image_id=image.id, flavor_id=flavor_record.id, networks=[{"uuid": network.id}], **arguments
        )

    def delete(self, server: Any) -> None:
        self.cloud.compute.delete_server(server, ignore_missing=True)
        self.cloud.compute.wait_for_delete(server, wait=60)


@pytest.fixture(scope="module")
def tenant(cloud: Any) -> Tenant:
    return Tenant(cloud)


@pytest.fixture(scope="module")
def network(tenant: Tenant) -> Iterator[Any]:
    created = tenant.cloud.network.create_network(name="machines")
    tenant.cloud.network.create_subnet(network_id=created.id, ip_version=4, cidr="10.55.0.0/24")
    yield created
    tenant.cloud.network.delete_network(created)


def upload(tenant: Tenant, name: str, file: Path, **properties: str) -> Any:
    kind = {"disk_format": "raw", "container_format": "bare", "validate_checksum": False}
    with file.open("rb") as data:  # given a name, the SDK opens the file and never closes it
        return tenant.cloud.image.create_image(name, data=data, **kind, **properties)


@pytest.fixture(scope="module")
def image(tenant: Tenant, root_image: Path) -> Iterator[Any]:
    created = upload(tenant, "debian", root_image, moorage_version="debian-1")
    yield created
    tenant.cloud.image.delete_image(created)


@pytest.fixture(scope="module")
def server(tenant: Tenant, image: Any, network: Any) -> Iterator[Any]:
    data = base64.b64encode(b"#hello\n").decode()
    created = tenant.server(image, network, user_data=data)
    tenant.wait_for_status(created, "ACTIVE")
    tenant.wait_until_booted(created)
    yield created
    tenant.delete(created)


def test_server_boots_with_its_metadata(tenant: Tenant, server: Any) -> None:
    assert tenant.inside(server, "hostname") == "try-1"
    assert tenant.inside(server, "cat /run/config-drive/openstack/latest/user_data") == "#hello"
    assert server.id in tenant.inside(server, "cat /run/config-drive/openstack/latest/meta_data.json")
    (port,) = tenant.cloud.network.ports(device_id=server.id)
    assert tenant.inside(server, "cat /sys/class/net/eth0/address") == port.mac_address
    assert port.mac_address in tenant.inside(server, "cat /run/config-drive/openstack/latest/network_data.json")
    until(lambda: tenant.cloud.network.get_port(port.id).status == "ACTIVE")


def test_server_gets_address_from_ovn(tenant: Tenant, server: Any) -> None:
    tenant.inside(
        server, "mkdir -p /run/systemd/network && systemctl stop systemd-networkd.service systemd-networkd.socket"
    )
    unit = r"[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n[DHCPv4]\nUseMTU=yes\n"
    tenant.inside(server, f"printf '{unit}' > /run/systemd/network/eth0.network && systemctl start systemd-networkd")
    (port,) = tenant.cloud.network.ports(device_id=server.id)
    address = port.fixed_ips[0]["ip_address"]
    until(lambda: address in tenant.inside(server, "ip -4 address show dev eth0"))
    assert 1300 < int(tenant.inside(server, "cat /sys/class/net/eth0/mtu")) < 1500


def test_stop_and_start_keep_data(tenant: Tenant, server: Any) -> None:
    tenant.inside(server, "echo kept > /var/kept")
    tenant.cloud.compute.stop_server(server)
    tenant.wait_for_status(server, "SHUTOFF")
    assert tenant.pid(server) is None
    tenant.cloud.compute.start_server(server)
    tenant.wait_for_status(server, "ACTIVE")
    tenant.wait_until_booted(server)
    assert tenant.inside(server, "cat /var/kept") == "kept"
    bless(tenant, server)


def bless(tenant: Tenant, server: Any) -> None:
    """Bless the slot, as a healthy node does: from now on every start is allowed."""
    tenant.inside(server, "sed -i s/^left_a=.*/left_a=/ /boot/grub/grubenv")


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_reboot_keeps_data(tenant: Tenant, server: Any, kind: str) -> None:
    before = tenant.pid(server)
    tenant.cloud.compute.reboot_server(server, kind)
    until(lambda: tenant.pid(server) not in (before, None), seconds=60)
    tenant.wait_for_status(server, "ACTIVE")
    tenant.wait_until_booted(server)
    assert tenant.inside(server, "cat /var/kept") == "kept"


def test_reboot_inside_keeps_server_active(tenant: Tenant, server: Any) -> None:
    before = tenant.pid(server)
    tenant.inside(server, "systemctl reboot --no-block")
    until(lambda: tenant.pid(server) not in (before, None))
    tenant.wait_until_booted(server)
    time.sleep(3)
    assert tenant.status(server) == "ACTIVE"


@pytest.mark.parametrize("end", ["killed", "powered off from inside"])
def test_dead_machine_is_shutoff(tenant: Tenant, server: Any, end: str) -> None:
    if end == "killed":
        os.kill(tenant.pid(server) or 0, signal.SIGKILL)
    else:
        tenant.inside(server, "systemctl poweroff --no-block")
    tenant.wait_for_status(server, "SHUTOFF")
    tenant.cloud.compute.start_server(server)
    tenant.wait_for_status(server, "ACTIVE")
    tenant.wait_until_booted(server)


def test_console_log_is_available(tenant: Tenant, server: Any) -> None:
    tenant.inside(server, "echo a word to the operator > /dev/console")
    until(lambda: "a word to" in tenant.cloud.compute.get_server_console_output(server)["output"])


def test_attach_and_detach_interface_while_running(tenant: Tenant, server: Any, network: Any) -> None:
    created = tenant.cloud.compute.create_server_interface(server, net_id=network.id)
    until(lambda: "eth1" in tenant.inside(server, "ls /sys/class/net"))
    assert tenant.inside(server, "cat /sys/class/net/eth1/address") == created.mac_addr
    tenant.cloud.compute.delete_server_interface(created.port_id, server=server)
    until(lambda: "eth1" not in tenant.inside(server, "ls /sys/class/net"))


def test_attach_grow_and_detach_volume_while_running(tenant: Tenant, server: Any) -> None:
    storage, compute = tenant.cloud.block_storage, tenant.cloud.compute
    volume = storage.create_volume(name="v", size=1)
    storage.wait_for_status(volume, "available", wait=30)
    compute.create_volume_attachment(server, volume_id=volume.id)
    by_id = f"/dev/disk/by-id/virtio-{volume.id[:20]}"
    until(lambda: tenant.inside(server, f"ls {by_id} || true"))
    storage.wait_for_status(volume, "in-use", wait=30)
    tenant.inside(server, f"mkfs.ext4 -q {by_id} && mkdir -p /var/v && mount {by_id} /var/v && echo kept > /var/v/f")
    session = storage.default_microversion, "3.42"
    storage.default_microversion = session[1]
    storage.extend_volume(volume, 2)
    until(lambda: tenant.inside(server, f"blockdev --getsize64 {by_id}") == str(2 * 2**30), seconds=60)
    tenant.inside(server, "umount /var/v")
    storage.wait_for_status(volume, "in-use", wait=30)
    compute.delete_volume_attachment(server, volume)
    until(lambda: storage.get_volume(volume.id).status == "available", seconds=60)
    assert tenant.inside(server, f"ls /dev/vdb {by_id} 2>/dev/null || true") == ""
    assert [path for path in (tenant.home.state / "volumes").iterdir() if loops.devices(path)] == []
    storage.delete_volume(volume)
    storage.wait_for_delete(volume, wait=30)


def test_restarted_nova_adopts_running_machines(tenant: Tenant, server: Any) -> None:
    before = tenant.pid(server)
    tenant.home.moorage("cloud", "restart", "nova")
    assert tenant.pid(server) == before
    assert tenant.status(server) == "ACTIVE"
    os.kill(before or 0, signal.SIGKILL)
    tenant.wait_for_status(server, "SHUTOFF")
    tenant.cloud.compute.start_server(server)
    tenant.wait_for_status(server, "ACTIVE")
    tenant.wait_until_booted(server)


def test_rebuild_keeps_name(tenant: Tenant, server: Any, image: Any) -> None:
    (port,) = tenant.cloud.network.ports(device_id=server.id)
    tenant.cloud.compute.rebuild_server(server, image=image.id, name="try-1")
    until(lambda: tenant.status(server) == "ACTIVE" and tenant.pid(server) is not None, seconds=60)
    tenant.wait_until_booted(server)
    assert tenant.inside(server, "ls /var/kept 2>/dev/null || true") == ""
    assert tenant.inside(server, "cat /sys/class/net/eth0/address") == port.mac_address


def test_boot_from_wrong_image_fails_and_leaves_nothing(tenant: Tenant, network: Any, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise" * 1000)
    image = upload(tenant, "noise", tmp_path / "noise")
    server = tenant.server(image, network)
    tenant.wait_for_status(server, "ERROR")
    fault = tenant.cloud.compute.get_server(server.id).fault["message"]
    assert "is not a squashfs" in fault
    assert not (tenant.machines / server.id).exists()
    tenant.delete(server)
    tenant.cloud.image.delete_image(image)


def test_delete_leaves_nothing(tenant: Tenant, image: Any, network: Any) -> None:
    server = tenant.server(image, network)
    tenant.wait_for_status(server, "ACTIVE")
    machine = tenant.machine(server)
    pid = life.pid(machine)
    tenant.delete(server)
    assert not machine.path.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(f"/run/netns/{machine.namespace}").exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{machine.id}"))
    assert loops.devices(machine.disk_file) == []
    assert machine.id not in Path("/proc/self/mountinfo").read_text()
    assert subprocess.run(["ip", "link", "show", machine.nics[0].tap], check=False, capture_output=True).returncode == 1


@pytest.mark.faults
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])
def test_build_interrupted_by_nova_restart_ends(tenant: Tenant, image: Any, network: Any, pause: float) -> None:
    """The build ends as ACTIVE or ERROR, so the user can retry. The server has one record, not one in two cells."""
    nova, other_servers = nova_pid(tenant), server_ids(tenant)
    server = tenant.server(image, network)
    time.sleep(pause)
    os.kill(nova, signal.SIGKILL)
    wait_for_end_of_build_and_delete(tenant, server, other_servers)


@pytest.fixture(scope="module")
def unschedulable_flavor(tenant: Tenant) -> Iterator[str]:
    """A flavor that no host can serve."""
    admin = openstack.connect(cloud="moorage-admin")
    created = admin.compute.create_flavor(name="impossible", ram=512, vcpus=1, disk=1)
    admin.compute.create_flavor_extra_specs(created, {"resources:CUSTOM_NOWHERE": "1"})
    yield created.name
    admin.compute.delete_flavor(created)


@pytest.fixture
def database(tenant: Tenant) -> Iterator[Any]:
    with rows.asked(tenant.home) as cursor:
        yield cursor


@pytest.mark.parametrize(
    ("flavor", "table"),
    [
        ("m1.small", "instance_mappings"),  # the cell has a record, but the server is not mapped to that cell
        ("m1.small", "build_requests"),  # the server is mapped too, and the build request still exists
        ("impossible", "instance_mappings"),  # the build failed, and the server is not mapped to cell0
    ],
)
def test_build_interrupted_between_two_writes_ends(
    tenant: Tenant, image: Any, network: Any, unschedulable_flavor: str, database: Any, flavor: str, table: str
) -> None:
    """Nova is blocked where it writes to that table, and killed there."""
    nova, other_servers = nova_pid(tenant), server_ids(tenant)
    server = tenant.server(image, network, flavor)
    row = f"SELECT id FROM nova_api.{table} WHERE instance_uuid = %s"
    rows.kill_where_it_writes(database, row, [server.id], nova)
    wait_for_end_of_build_and_delete(tenant, server, other_servers)


def test_create_server_while_nova_starts(tenant: Tenant, image: Any, network: Any, database: Any) -> None:
    restart_after_long_outage(tenant, database)
    server = until(lambda: tenant.server(image, network), yet=UNREACHABLE, pause=0.02)
    tenant.wait_for_status(server, "ACTIVE")
    tenant.delete(server)


def test_delete_server_while_nova_starts_leaves_nothing(
    tenant: Tenant, image: Any, network: Any, database: Any
) -> None:
    server = tenant.server(image, network)
    tenant.wait_for_status(server, "ACTIVE")
    machine, pid = tenant.machine(server), tenant.pid(server)
    restart_after_long_outage(tenant, database)
    until(lambda: tenant.delete(server) is None, yet=UNREACHABLE, pause=0.02)
    assert not machine.path.exists()
    assert not Path(f"/proc/{pid}").exists()


def restart_after_long_outage(tenant: Tenant, database: Any) -> None:
    """Kill Nova; the new process finds a compute service that has not reported for over an hour."""
    os.kill(nova_pid(tenant), signal.SIGKILL)
    assert database.execute("UPDATE nova_cell1.services SET last_seen_up = created_at - INTERVAL 1 HOUR") > 0


def server_ids(tenant: Tenant) -> list[str]:
    return [server.id for server in tenant.cloud.compute.servers()]


def nova_pid(tenant: Tenant) -> int:
    """Return Nova's pid. Reading it takes longer than the interrupted builds: call it before they begin."""
    return int(tenant.home.programs()["nova"]["pid"])


def wait_for_end_of_build_and_delete(tenant: Tenant, server: Any, other_servers: list[str]) -> None:
    until(lambda: tenant.status_if_up(server) in ("ACTIVE", "ERROR"), seconds=60)
    tenant.delete(server)
    assert server_ids(tenant) == other_servers
