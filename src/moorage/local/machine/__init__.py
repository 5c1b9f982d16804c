"""Servers as machine containers: a library of their life, and the Nova virt driver on top of it.

Nova loads a driver from `nova.virt.*` only: call `install()` in the process of nova-compute before the service is
made, and name `compute_driver = moorage_machine.MachineDriver`.
"""

from __future__ import annotations

from pathlib import Path


def install() -> None:
    """Make `nova.virt.moorage_machine` this package's driver, and register its options."""
    import sys

    from moorage.local.machine import driver, options

    options.register()
    sys.modules["nova.virt.moorage_machine"] = driver


def stop_all(state: Path) -> None:
    """Shut every machine below `state` down and release what they hold of the host; their data stays."""
    from moorage.host.linux import LinuxHost
    from moorage.local.machine import life

    life.stop_all(state, LinuxHost())


def running(state: Path) -> list[str]:
    """Host names of the machines below `state` that run."""
    from moorage.local.machine import life
    from moorage.local.machine.spec import load_all

    return [machine.hostname for machine in load_all(state) if life.pid(machine)]
