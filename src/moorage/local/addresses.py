"""The gateway address on the loopback device, beside the one on the external bridge.

So the services can bind to it before the bridge exists, and keep talking to one another while the switch
restarts.
"""

from __future__ import annotations

import subprocess

from moorage.local.layout import GATEWAY


def add() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "replace", f"{GATEWAY}/32", "dev", "lo"], check=True)


def remove() -> None:
    subprocess.run(["ip", "address", "delete", f"{GATEWAY}/32", "dev", "lo"], capture_output=True)
