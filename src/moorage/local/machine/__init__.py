"""Servers as machine containers: their life cycle, and the Nova virt driver on top of it.

Nova loads drivers from `nova.virt.*` only: call `install()` in the process of nova-compute before the service is
created, and set `compute_driver = moorage_machine.MachineDriver`.
"""

from __future__ import annotations

from pathlib import Path


def install() -> None:
    """Register this package's driver as `nova.virt.moorage_machine`, and its options."""
    import sys

    from moorage.local.machine import driver, options

    options.register()
    sys.modules["nova.virt.moorage_machine"] = driver


def stop_all(state: Path) -> None:
    """Shut down every machine below `state` and release its resources on the host; their data is kept."""
    from moorage.local.machine import life
    from moorage.local.machine.host.linux import LinuxHost

    life.stop_all(state, LinuxHost())


def running_hostnames(state: Path) -> list[str]:
    """Host names of the running machines below `state`."""
    from moorage.local.machine import life
    from moorage.local.machine.spec import load_all

    return [machine.hostname for machine in load_all(state) if life.pid(machine)]
