"""The external bridge's device, which the switch and Moorage configure at the same time."""

from __future__ import annotations

import subprocess
import threading

import pytest

from moorage.local.switch import is_up, keep_up

pytestmark = pytest.mark.functional

DEVICE = "moorage-try0"


def ip(*words: str) -> None:
    subprocess.run(["ip", "link", *words], check=True)


def test_keep_up_sets_device_up_again(own_network: None) -> None:
    ip("add", DEVICE, "type", "bridge")
    try:
        timer = threading.Timer(0.3, ip, ("set", DEVICE, "down"))
        timer.start()
        assert not is_up(DEVICE)
        keep_up(DEVICE, seconds=1)
        timer.join()
        assert is_up(DEVICE)
    finally:
        ip("delete", DEVICE)
