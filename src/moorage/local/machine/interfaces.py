"""A machine's network: a namespace, and a veth pair to the switch for each port."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable

from moorage.host.run import run
from moorage.local.machine.host.port import Host, Port, VethPair
from moorage.local.machine.spec import Machine, Nic


def connect(nic: Nic, machine: Machine, host: Host) -> None:
    """Create a port's veth pair and plug it in, with OVN's `iface-id`."""
    host.add_veth_pair(VethPair(nic.tap, nic.name, nic.mac, nic.mtu), machine.namespace)
    plug(nic, machine, host)


def plug(nic: Nic, machine: Machine, host: Host) -> None:
    """Bind a veth pair's end on the host to its Neutron port."""
    ids = {"iface-id": nic.port, "attached-mac": nic.mac, "vm-id": machine.id, "iface-status": "active"}
    host.plug(Port(nic.tap, ids))


def disconnect(nic: Nic, host: Host) -> None:
    """Unplug a port and delete its veth pair; does nothing when it does not exist."""
    host.unplug(nic.tap)
    host.remove_link(nic.tap)


def reset(nics: Iterable[Nic]) -> None:
    """Reset this network namespace to its state at power-on: the machine's interfaces, down, and nothing else.

    Bridges, tunnels and rules of the machine's last run would otherwise remain.
    """
    expected = {nic.name for nic in nics}
    unexpected = {name for _, name in socket.if_nameindex()} - expected - {"lo"}
    lines = [f"link set {name} down\naddress flush dev {name}\n" for name in sorted(expected)]
    lines += [f"link delete {name}\n" for name in sorted(unexpected)]
    # Deleting one end of a pair deletes the other, so some commands find no interface.
    run("ip", "-force", "-batch", "-", stdin="".join(lines), check=False)
    if unexpected and shutil.which("nft"):
        run("nft", "flush", "ruleset")
