"""Programs that die are restarted, and the cloud works again with its data."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from moorage.local import databases, health, ovn, secrets, seed
from moorage.local.layout import GATEWAY
from moorage.local.programs import REGISTRY_PORT
from moorage.local.services import SERVICES, service
from moorage.local.supervisor import remaining_processes
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.cloud, pytest.mark.timeout(900)]

STACK = {"heat_template_version": "2021-04-16", "resources": {"word": {"type": "OS::Heat::RandomString"}}}


def administrator(cloud):
    return seed.administrator(secrets.ensure(cloud.layout.secrets))


def not_ready(cloud) -> dict[str, str]:
    return {row.name: row.health for row in cloud.status() if row.health != "ready"}


def network_names(cloud) -> set[str]:
    entries = administrator(cloud).request("GET", "network", "/v2.0/networks")["networks"]
    return {network["name"] for network in entries}


def create_network(cloud, name: str) -> str:
    body = {"network": {"name": name}}
    return administrator(cloud).request("POST", "network", "/v2.0/networks", body)["network"]["id"]


def can_use_neutron(cloud) -> bool:
    network = create_network(cloud, "passing")
    administrator(cloud).request("DELETE", "network", f"/v2.0/networks/{network}")
    return True


def can_use_cinder(cloud) -> bool:
    session = administrator(cloud)
    base = f"/{session.project_id}/volumes"
    created = session.request("POST", "block-storage", base, {"volume": {"name": "passing", "size": 1}})["volume"]
    for _ in range(100):
        status = session.request("GET", "block-storage", f"{base}/{created['id']}")["volume"]["status"]
        if status != "creating":
            break
        time.sleep(0.2)
    session.request("DELETE", "block-storage", f"{base}/{created['id']}")
    return status == "available"


def is_nova_up(cloud) -> bool:
    entries = administrator(cloud).request("GET", "compute", "/os-services")["services"]
    return {s["binary"] for s in entries if s["state"] == "up"} == {
        "nova-conductor",
        "nova-scheduler",
        "nova-compute",
    }


def can_use_heat(cloud) -> bool:
    session = administrator(cloud)
    body = {"stack_name": f"passing-{time.monotonic_ns()}", "template": STACK}
    created = session.request("POST", "orchestration", "/stacks", body)["stack"]
    path = f"/stacks/{body['stack_name']}/{created['id']}"
    for _ in range(100):
        status = session.request("GET", "orchestration", path)["stack"]["stack_status"]
        if status != "CREATE_IN_PROGRESS":
            break
        time.sleep(0.2)
    session.request("DELETE", "orchestration", path)
    return status == "CREATE_COMPLETE"


def has_ovn_provider(cloud) -> bool:
    entries = administrator(cloud).request("GET", "load-balancer", "/v2.0/lbaas/providers")["providers"]
    return [provider["name"] for provider in entries] == ["ovn"]


def can_sync_northd(cloud) -> bool:
    """Whether a change in the northbound database reaches the southbound one and the chassis."""
    socket = f"--db=unix:{cloud.layout.northbound_socket}"
    result = subprocess.run(["ovn-nbctl", socket, "--timeout=10", "--wait=hv", "sync"], capture_output=True)
    return result.returncode == 0


def can_use_switch(cloud) -> bool:
    """Whether the switch acts on its database, and the gateway still has its address."""
    ovn.vsctl(cloud.layout, "add-port", "br-ex", "passing", "--", "set", "Interface", "passing", "type=internal")
    ovn.vsctl(cloud.layout, "del-port", "br-ex", "passing")
    result = subprocess.run(["ip", "-4", "address", "show", "br-ex"], capture_output=True, text=True, check=True)
    return "172.24.4.1/24" in result.stdout


def can_use_registry(cloud) -> bool:
    with urllib.request.urlopen(f"http://{GATEWAY}:{REGISTRY_PORT}/v2/", timeout=5) as response:
        return response.status == 200


PROBES = {
    "keystone": lambda cloud: bool(administrator(cloud).token),
    "placement": lambda cloud: administrator(cloud).request("GET", "placement", "/"),
    "glance": lambda cloud: administrator(cloud).request("GET", "image", "/v2/images"),
    "nova": is_nova_up,
    "neutron": can_use_neutron,
    "cinder": can_use_cinder,
    "heat": can_use_heat,
    "octavia": has_ovn_provider,
    "mariadb": can_use_neutron,
    "ovsdb": can_use_switch,
    "ovs-vswitchd": can_use_switch,
    "ovn-northbound": can_sync_northd,
    "ovn-southbound": can_sync_northd,
    "ovn-northd": can_sync_northd,
    "ovn-controller": can_sync_northd,
    "registry": can_use_registry,
}


def test_status_every_program_is_ready(cloud):
    rows = cloud.status()
    assert not_ready(cloud) == {}
    assert {row.name for row in rows} == set(PROBES)
    assert all(row.version for row in rows)


def test_up_again_changes_nothing(cloud):
    before = {row.name: row.pid for row in cloud.status()}
    cloud.up(lambda text: None)
    assert {row.name: row.pid for row in cloud.status()} == before


def test_no_program_listens_on_all_interfaces(cloud):
    result = subprocess.run(["ss", "-lntH"], capture_output=True, text=True, check=True).stdout
    addresses = {line.split()[3].rpartition(":")[0] for line in result.splitlines()}
    assert addresses == {"127.0.0.1", "172.24.4.1"}


def test_secrets_and_configuration_are_private(cloud):
    for file in (cloud.layout.secrets, cloud.clouds_file, cloud.layout.etc / "nova" / "nova.conf"):
        assert file.stat().st_mode & 0o077 == 0
    assert cloud.layout.state.stat().st_mode & 0o077 == 0


def until_without_error(condition, seconds=60):
    """Wait for the condition; a program that does not run yet may cause any kind of error."""
    return until(condition, seconds=seconds, yet=(Exception,))


@pytest.mark.faults
@pytest.mark.parametrize("name", PROBES)
def test_killed_program_is_restarted(cloud, name):
    before = cloud.supervisor.program_states()[name].pid
    os.kill(before, signal.SIGKILL)
    until_without_error(lambda: cloud.supervisor.program_states()[name].pid not in (0, before))
    if name in {entry.name for entry in SERVICES}:
        until_without_error(lambda: health.check(service(name)).ready)
    assert until_without_error(lambda: PROBES[name](cloud), seconds=90)


def test_all_killed_at_once_restart_with_data(cloud):
    create_network(cloud, "kept")
    for pid in remaining_processes(cloud.layout):
        os.kill(pid, signal.SIGKILL)
    cloud.up(str)
    assert "kept" in network_names(cloud)
    assert not_ready(cloud) == {}


def test_killed_supervisor_is_replaced(cloud):
    """The programs continue without the supervisor; `up` stops and restarts them, so that none runs twice."""
    os.kill(int(cloud.layout.supervisor_pid.read_text()), signal.SIGKILL)
    cloud.up(str)
    assert not_ready(cloud) == {}
    rows = cloud.status()
    children = {row.pid for row in rows} | {int(cloud.layout.supervisor_pid.read_text())}
    assert set(remaining_processes(cloud.layout)) == children


def test_down_and_up_keep_data_with_other_versions(cloud):
    """A stamp of other package versions causes an in-place migration of every database."""
    create_network(cloud, "over-night")
    cloud.down(str)
    assert remaining_processes(cloud.layout) == []
    devices = subprocess.run(["ip", "-oneline", "link"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in devices.splitlines()] == ["lo:"]
    stamp = cloud.layout.mysql / databases.STAMP
    current = stamp.read_text()
    stamp.write_text("of older packages")
    cloud.up(str)
    assert stamp.read_text() == current
    assert {"over-night", "kept"} <= network_names(cloud)


def test_concurrent_up_waits(cloud):
    cloud.down(str)
    environment = {
        **os.environ,
        "MOORAGE_STATE": str(cloud.layout.state),
        "MOORAGE_RUN": str(cloud.layout.run),
        "MOORAGE_CACHE": str(cloud.layout.cache),
        "OS_CLIENT_CONFIG_FILE": str(cloud.clouds_file),
    }
    command = [sys.executable, "-m", "moorage.bootstrap", "cloud", "up"]
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("another `moorage cloud` command is running" in text for text in outputs) == 1
    running = {program.pid for program in cloud.supervisor.program_states().values()}
    assert set(remaining_processes(cloud.layout)) == running | {int(cloud.layout.supervisor_pid.read_text())}
    assert until_without_error(lambda: can_use_cinder(cloud) and is_nova_up(cloud)), "other tests use it next"
