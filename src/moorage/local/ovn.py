"""Open vSwitch and OVN, with databases and sockets of their own, separate from the machine's."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from moorage.local.layout import HOST, LOOPBACK, Layout
from moorage.local.serve.dependencies import wait_for_socket
from moorage.model.errors import Failed

EXTERNAL_BRIDGE = "br-ex"
INTEGRATION_BRIDGE = "br-int"
BRIDGES = (INTEGRATION_BRIDGE, EXTERNAL_BRIDGE)
SCHEMAS = {
    "conf.db": "/usr/share/openvswitch/vswitch.ovsschema",
    "nb.db": "/usr/share/ovn/ovn-nb.ovsschema",
    "sb.db": "/usr/share/ovn/ovn-sb.ovsschema",
}


def datapath() -> str:
    """`system` where this kernel has Open vSwitch's datapath and nothing else uses it, else `netdev` (userspace)."""
    if _has_foreign_switch():
        return "netdev"
    if Path("/sys/module/openvswitch").exists():
        return "system"
    result = subprocess.run(["modprobe", "--quiet", "openvswitch"], capture_output=True)
    return "system" if result.returncode == 0 and Path("/sys/module/openvswitch").exists() else "netdev"


def _has_foreign_switch() -> bool:
    """Whether this machine's own Open vSwitch runs; the kernel's datapath serves one switch only."""
    return Path("/run/openvswitch/ovs-vswitchd.pid").exists()


def create_databases(layout: Layout) -> None:
    """Create those of the three databases that do not exist."""
    for name, schema in SCHEMAS.items():
        file = layout.ovs_databases / name
        if not file.exists():
            part = file.with_name(name + ".part")
            part.unlink(missing_ok=True)
            _run("ovsdb-tool", "create", str(part), schema)
            part.rename(file)


def database_command(layout: Layout, database: str, listen: Path) -> tuple[str, ...]:
    return (
        "/usr/sbin/ovsdb-server",
        f"{layout.ovs_databases}/{database}",
        f"--remote=punix:{listen}",
        f"--unixctl={layout.ovs}/{Path(database).stem}.ctl",
        *_LOGGING,
    )


def switch_command(layout: Layout) -> tuple[str, ...]:
    return (
        "/usr/sbin/ovs-vswitchd",
        f"unix:{layout.ovs_socket}",
        f"--unixctl={layout.ovs}/vswitchd.ctl",
        *_LOGGING,
    )


def northd_command(layout: Layout) -> tuple[str, ...]:
    return (
        "/usr/bin/ovn-northd",
        f"--ovnnb-db=unix:{layout.northbound_socket}",
        f"--ovnsb-db=unix:{layout.southbound_socket}",
        f"--unixctl={layout.ovs}/northd.ctl",
        *_LOGGING,
    )


def controller_command(layout: Layout) -> tuple[str, ...]:
    return (
        "/usr/bin/ovn-controller",
        f"unix:{layout.ovs_socket}",
        *_LOGGING,
    )


# The supervisor stores and rotates their output.
_LOGGING = ("--verbose=syslog:off", "--verbose=file:off", "--verbose=console:warn")


def configure(layout: Layout, kind: str) -> None:
    """Set Open vSwitch's identity for OVN, and create the two bridges; repeatable. Failed."""
    settings = {
        "system-id": HOST,
        "hostname": HOST,
        "ovn-remote": f"unix:{layout.southbound_socket}",
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": LOOPBACK,
        "ovn-bridge-datapath-type": kind,
        "ovn-bridge-mappings": f"public:{EXTERNAL_BRIDGE}",
        "ovn-cms-options": "enable-chassis-as-gw",
    }
    bridges = [(INTEGRATION_BRIDGE, "secure"), (EXTERNAL_BRIDGE, "standalone")]
    command = [
        "set",
        "Open_vSwitch",
        ".",
        *(f"external_ids:{key}={value}" for key, value in settings.items()),
    ]
    for bridge, mode in bridges:
        command += ["--", "--may-exist", "add-br", bridge]
        command += ["--", "set", "Bridge", bridge, f"datapath_type={kind}", f"fail_mode={mode}"]
    for path in (layout.ovs_socket, layout.northbound_socket, layout.southbound_socket):
        wait_for_socket(path, timeout=30)
    vsctl(layout, "--no-wait", "init")
    vsctl(layout, "--no-wait", *command)
    _run("ovn-nbctl", f"--db=unix:{layout.northbound_socket}", "--no-wait", "init")
    # Neutron's maintenance worker sets this; without it a load balancer's address cannot be reached from its own
    # subnet.
    _run(
        "ovn-nbctl",
        f"--db=unix:{layout.northbound_socket}",
        "set",
        "NB_Global",
        ".",
        "options:ignore_lsp_down=false",
    )
    _run("ovn-sbctl", f"--db=unix:{layout.southbound_socket}", "init")


def remove_bridges(layout: Layout) -> None:
    """Delete the bridges, and with them a kernel's datapath and the servers' devices. ovn-controller must not run."""
    if layout.ovs_socket.exists():
        command = ["ovs-vsctl", f"--db=unix:{layout.ovs_socket}", "--timeout=5"]
        listed = subprocess.run([*command, "list-ports", INTEGRATION_BRIDGE], capture_output=True, text=True).stdout
        for bridge in BRIDGES:
            subprocess.run([*command, "--if-exists", "del-br", bridge], capture_output=True)
        # Those of virtual machines exist until they are deleted.
        for device in filter(device_exists, listed.split()):
            subprocess.run(["ip", "link", "delete", device], capture_output=True)


def remove_devices() -> None:
    """Delete the devices that the userspace datapath leaves when its process ends."""
    devices = BRIDGES if _has_foreign_switch() else (*BRIDGES, "ovs-netdev")
    for device in devices:
        if device_exists(device):
            subprocess.run(["ip", "link", "delete", device], capture_output=True)


def device_exists(name: str) -> bool:
    """Whether a network device of this name exists in this network namespace (which /sys need not show)."""
    return any(name == device for _, device in socket.if_nameindex())


def vsctl(layout: Layout, *arguments: str) -> str:
    """Run ovs-vsctl on the cloud's own Open vSwitch; Failed with its message."""
    return _run("ovs-vsctl", f"--db=unix:{layout.ovs_socket}", "--timeout=30", *arguments)


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failed(f"{command[0]} failed: {result.stderr.strip() or result.returncode}")
    return result.stdout
