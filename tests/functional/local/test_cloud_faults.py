"""Whatever dies comes back, and the cloud is of use again with all that it held."""

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
from moorage.local.supervisor import left
from waiting import until

pytestmark = [pytest.mark.functional, pytest.mark.cloud, pytest.mark.timeout(900)]

STACK = {"heat_template_version": "2021-04-16", "resources": {"word": {"type": "OS::Heat::RandomString"}}}


def administrator(cloud):
    return seed.administrator(secrets.ensure(cloud.layout.secrets))


def ill(cloud) -> dict[str, str]:
    return {row.name: row.health for row in cloud.status() if row.health != "ready"}


def networks(cloud) -> set[str]:
    listed = administrator(cloud).request("GET", "network", "/v2.0/networks")["networks"]
    return {network["name"] for network in listed}


def make_network(cloud, name: str) -> str:
    body = {"network": {"name": name}}
    return administrator(cloud).request("POST", "network", "/v2.0/networks", body)["network"]["id"]


def use_neutron(cloud) -> bool:
    network = make_network(cloud, "passing")
    administrator(cloud).request("DELETE", "network", f"/v2.0/networks/{network}")
    return True


def use_cinder(cloud) -> bool:
    session = administrator(cloud)
    base = f"/{session.project_id}/volumes"
    made = session.request("POST", "block-storage", base, {"volume": {"name": "passing", "size": 1}})["volume"]
    for _ in range(100):
        status = session.request("GET", "block-storage", f"{base}/{made['id']}")["volume"]["status"]
        if status != "creating":
            break
        time.sleep(0.2)
    session.request("DELETE", "block-storage", f"{base}/{made['id']}")
    return status == "available"


def use_nova(cloud) -> bool:
    listed = administrator(cloud).request("GET", "compute", "/os-services")["services"]
    return {s["binary"] for s in listed if s["state"] == "up"} == {
        "nova-conductor",
        "nova-scheduler",
        "nova-compute",
    }


def use_heat(cloud) -> bool:
    session = administrator(cloud)
    body = {"stack_name": f"passing-{time.monotonic_ns()}", "template": STACK}
    made = session.request("POST", "orchestration", "/stacks", body)["stack"]
    path = f"/stacks/{body['stack_name']}/{made['id']}"
    for _ in range(100):
        status = session.request("GET", "orchestration", path)["stack"]["stack_status"]
        if status != "CREATE_IN_PROGRESS":
            break
        time.sleep(0.2)
    session.request("DELETE", "orchestration", path)
    return status == "CREATE_COMPLETE"


def use_octavia(cloud) -> bool:
    listed = administrator(cloud).request("GET", "load-balancer", "/v2.0/lbaas/providers")["providers"]
    return [provider["name"] for provider in listed] == ["ovn"]


def use_northd(cloud) -> bool:
    """A change of the northbound database reaches the southbound one, and the chassis."""
    socket = f"--db=unix:{cloud.layout.northbound_socket}"
    done = subprocess.run(["ovn-nbctl", socket, "--timeout=10", "--wait=hv", "sync"], capture_output=True)
    return done.returncode == 0


def use_switch(cloud) -> bool:
    """The switch acts on its database, and the gateway still has its address."""
    ovn.vsctl(cloud.layout, "add-port", "br-ex", "passing", "--", "set", "Interface", "passing", "type=internal")
    ovn.vsctl(cloud.layout, "del-port", "br-ex", "passing")
    shown = subprocess.run(["ip", "-4", "address", "show", "br-ex"], capture_output=True, text=True, check=True)
    return "172.24.4.1/24" in shown.stdout


def use_registry(cloud) -> bool:
    with urllib.request.urlopen(f"http://{GATEWAY}:{REGISTRY_PORT}/v2/", timeout=5) as answer:
        return answer.status == 200


USES = {
    "keystone": lambda cloud: bool(administrator(cloud).token),
    "placement": lambda cloud: administrator(cloud).request("GET", "placement", "/"),
    "glance": lambda cloud: administrator(cloud).request("GET", "image", "/v2/images"),
    "nova": use_nova,
    "neutron": use_neutron,
    "cinder": use_cinder,
    "heat": use_heat,
    "octavia": use_octavia,
    "mariadb": use_neutron,
    "ovsdb": use_switch,
    "ovs-vswitchd": use_switch,
    "ovn-northbound": use_northd,
    "ovn-southbound": use_northd,
    "ovn-northd": use_northd,
    "ovn-controller": use_northd,
    "registry": use_registry,
}


def test_every_program_is_ready(cloud):
    rows = cloud.status()
    assert ill(cloud) == {}
    assert {row.name for row in rows} == set(USES)
    assert all(row.version for row in rows)


def test_up_again_changes_nothing(cloud):
    before = {row.name: row.pid for row in cloud.status()}
    cloud.up(lambda text: None)
    assert {row.name: row.pid for row in cloud.status()} == before


def test_no_program_listens_on_all_interfaces(cloud):
    shown = subprocess.run(["ss", "-lntH"], capture_output=True, text=True, check=True).stdout
    addresses = {line.split()[3].rpartition(":")[0] for line in shown.splitlines()}
    assert addresses == {"127.0.0.1", "172.24.4.1"}


def test_secrets_and_configuration_are_private(cloud):
    for file in (cloud.layout.secrets, cloud.clouds_file, cloud.layout.etc / "nova" / "nova.conf"):
        assert file.stat().st_mode & 0o077 == 0
    assert cloud.layout.state.stat().st_mode & 0o077 == 0


def eventually(happened, seconds=60):
    """Who asks a program that is not there gets any kind of error."""
    return until(happened, seconds=seconds, yet=(Exception,))


@pytest.mark.faults
@pytest.mark.parametrize("name", USES)
def test_killed_program_is_restarted(cloud, name):
    before = cloud.supervisor.running()[name].pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: cloud.supervisor.running()[name].pid not in (0, before))
    if name in {entry.name for entry in SERVICES}:
        eventually(lambda: health.ask(service(name)).ready)
    assert eventually(lambda: USES[name](cloud), seconds=90)


def test_all_killed_at_once_restart_with_data(cloud):
    make_network(cloud, "kept")
    for pid in left(cloud.layout):
        os.kill(pid, signal.SIGKILL)
    cloud.up(str)
    assert "kept" in networks(cloud)
    assert ill(cloud) == {}


def test_killed_supervisor_is_replaced(cloud):
    """Its programs go on without it; `up` ends them and starts again, so that none runs twice."""
    os.kill(int(cloud.layout.supervisor_pid.read_text()), signal.SIGKILL)
    cloud.up(str)
    assert ill(cloud) == {}
    rows = cloud.status()
    children = {row.pid for row in rows} | {int(cloud.layout.supervisor_pid.read_text())}
    assert set(left(cloud.layout)) == children


def test_down_and_up_keep_data_with_other_versions(cloud):
    """A stamp of other packages has every database migrated where it is."""
    make_network(cloud, "over-night")
    cloud.down(str)
    assert left(cloud.layout) == []
    devices = subprocess.run(["ip", "-oneline", "link"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in devices.splitlines()] == ["lo:"]
    stamp = cloud.layout.mysql / databases.STAMP
    made_by = stamp.read_text()
    stamp.write_text("of older packages")
    cloud.up(str)
    assert stamp.read_text() == made_by
    assert {"over-night", "kept"} <= networks(cloud)


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
    reported = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], reported
    assert sum("another `moorage cloud` command is running" in text for text in reported) == 1
    running = {program.pid for program in cloud.supervisor.running().values()}
    assert set(left(cloud.layout)) == running | {int(cloud.layout.supervisor_pid.read_text())}
    assert eventually(lambda: use_cinder(cloud) and use_nova(cloud)), "other tests use it next"
