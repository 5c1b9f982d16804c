"""Assign the gateway's address to the loopback device, in addition to the external bridge.

So the services can bind to it before the bridge exists, and reach one another while the switch restarts.
"""

from __future__ import annotations

import subprocess

from moorage.local.layout import GATEWAY


def add() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "replace", f"{GATEWAY}/32", "dev", "lo"], check=True)


def remove() -> None:
    subprocess.run(["ip", "address", "delete", f"{GATEWAY}/32", "dev", "lo"], capture_output=True)
