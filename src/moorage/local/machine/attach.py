"""Attach and detach volumes and interfaces of a machine, running or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from moorage.local.machine import inside, interfaces, life
from moorage.local.machine.disks import locked
from moorage.local.machine.host import loops
from moorage.local.machine.host.port import Host
from moorage.local.machine.spec import Machine, Nic, Volume, load

Volumes = tuple[Volume, ...]


def attach_volume(machine: Machine, volume: Volume, host: Host) -> None:
    """Attach a volume, at once when the machine runs; does nothing when it is attached. HostError."""
    host.attach_loop(Path(volume.path))
    _update_volumes(machine, lambda volumes: (*_without(volumes, volume), volume))
    if root := _root_path(machine):
        inside.make_device(root / "dev", volume, loops.number(volume.path))


def detach_volume(machine: Machine, volume: Volume, host: Host) -> None:
    """Detach a volume; does nothing when it is not attached. Processes that have it open can still use it."""
    _update_volumes(machine, lambda volumes: _without(volumes, volume))
    if root := _root_path(machine):
        inside.remove_device(root / "dev", volume)
    host.detach_loop(Path(volume.path))


def _without(volumes: Volumes, removed: Volume) -> Volumes:
    return tuple(volume for volume in volumes if volume.id != removed.id)


def attach_nic(machine: Machine, nic: Nic, host: Host) -> None:
    """Attach an interface with the first free name `eth<n>`; does nothing when it is attached."""
    with locked(machine.path):
        saved = load(machine.path)
        if any(other.port == nic.port for other in saved.nics):
            return
        used_names = {other.name for other in saved.nics}
        interface = replace(nic, name=next(name for number in range(256) if (name := f"eth{number}") not in used_names))
        host.add_namespace(machine.namespace)
        interfaces.connect(interface, machine, host)
        replace(saved, nics=(*saved.nics, interface)).save()


def detach_nic(machine: Machine, port: str, host: Host) -> None:
    """Detach the interface of a Neutron port; does nothing when it is not attached."""
    with locked(machine.path):
        saved = load(machine.path)
        for nic in saved.nics:
            if nic.port == port:
                interfaces.disconnect(nic, host)
        replace(saved, nics=tuple(nic for nic in saved.nics if nic.port != port)).save()


def _update_volumes(machine: Machine, change: Callable[[Volumes], Volumes]) -> None:
    with locked(machine.path):
        saved = load(machine.path)
        replace(saved, volumes=change(saved.volumes)).save()


def _root_path(machine: Machine) -> Path | None:
    """The machine's root, from the host; None when it does not run."""
    running = life.pid(machine)
    return Path(f"/proc/{running}/root") if running else None
