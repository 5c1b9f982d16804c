"""Start ovs-vswitchd, and assign the external bridge its address as soon as the switch has created it.

The address is the host's, not the switch's: a kernel's bridge, or a new one in userspace, starts without it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time

from moorage.local.layout import GATEWAY
from moorage.local.ovn import EXTERNAL_BRIDGE, device_exists
from moorage.local.waiting import until

BRIDGE_TIMEOUT = 120.0
PAUSE = 0.05
INITIALIZATION = 5.0
"""Seconds for which the switch may still change a new device."""

SIOCGIFFLAGS = 0x8913  # linux/sockios.h
IFF_UP = 0x1  # linux/if.h
IFREQ = struct.Struct("16sH14x")  # a device's name, and its flags


def main(command: list[str]) -> None:
    """Exec `command`; a detached process assigns the address."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            address_bridge()
        os._exit(0)
    os.waitpid(child, 0)
    os.execv(command[0], command)


def address_bridge() -> None:
    """Wait for the bridge, then set it up with the gateway's address; TimeoutError."""
    until(lambda: device_exists(EXTERNAL_BRIDGE), BRIDGE_TIMEOUT, f"the switch did not create {EXTERNAL_BRIDGE}", PAUSE)
    subprocess.run(["ip", "address", "replace", f"{GATEWAY}/24", "dev", EXTERNAL_BRIDGE], check=True)
    keep_up(EXTERNAL_BRIDGE)


def keep_up(device: str, seconds: float = INITIALIZATION) -> None:
    """Set a device up, and keep it up for `seconds`.

    The switch sets flags of its own on a new device: it reads all flags first and then writes them, so that flags that
    were set in between are lost.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_up(device):
            subprocess.run(["ip", "link", "set", device, "up"], check=True)
        time.sleep(PAUSE)


def is_up(device: str) -> bool:
    """Whether the device is up, in this network namespace, which /sys need not show."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        response = fcntl.ioctl(client, SIOCGIFFLAGS, IFREQ.pack(device.encode(), 0))
    return bool(IFREQ.unpack(response)[1] & IFF_UP)


if __name__ == "__main__":
    main(sys.argv[1:])
