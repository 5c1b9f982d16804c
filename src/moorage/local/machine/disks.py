"""A machine's root disk, its boot partition, and the slots that all machines share (docs/adr/0001)."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from moorage.host.run import run
from moorage.local.machine.spec import Machine
from moorage.model import boot

GIB = 2**30
NO_SLOT = "the machine has no slot to boot"


class NoBootSlot(Exception):
    """The boot partition has no image to boot."""


def create_disk(machine: Machine) -> None:
    """Create the disk, an empty ext4 file system of the flavor's size in a sparse file; does nothing when it exists."""
    if machine.disk_file.exists():
        return
    blank = machine.path.parent / ".blanks" / f"{machine.disk}.img"
    if not blank.exists():
        _create_blank(blank, machine.disk)
    partial = machine.disk_file.with_suffix(".new")
    run("cp", "--sparse=always", str(blank), str(partial))
    partial.rename(machine.disk_file)


def _create_blank(blank: Path, size: int) -> None:
    """Format one disk of each size once: a sparse copy takes a tenth of the time of formatting another."""
    blank.parent.mkdir(parents=True, exist_ok=True)
    partial = blank.with_suffix(f".{os.getpid()}-{id(blank)}")
    with partial.open("wb") as file:
        file.truncate(size * GIB)
    options = "lazy_itable_init=1,lazy_journal_init=1,discard"
    run("mkfs.ext4", "-q", "-F", "-m", "1", "-L", "state", "-E", options, str(partial))
    partial.rename(blank)


def install_image(machine: Machine, image: Path) -> None:
    """Put an image into a slot, with three attempts; does nothing when it is installed."""
    record = _record(machine)
    installed = record.installed(machine.version)
    if installed == record:
        return
    file = _root(machine, installed.slots[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    os.link(image, file)
    _write(machine, installed)


def boot_order(machine: Machine) -> list[boot.Slot]:
    """The slot to boot, of which the attempt is counted, and then the others; NoBootSlot when there is none."""
    record = _record(machine)
    chosen = record.next
    if chosen is None:
        raise NoBootSlot(NO_SLOT)
    counted = record.counted_down()
    if counted != record:
        _write(machine, counted)
    return [chosen, *(slot for slot in record.slots if slot != chosen)]


def _record(machine: Machine) -> boot.BootRecord:
    """The machine's record; of a damaged one the slots that there are."""
    file = machine.boot / boot.RECORD
    if not file.exists():
        return boot.BootRecord()
    try:
        return boot.BootRecord.parse(file.read_bytes())
    except ValueError:
        slots = (boot.Slot(name, machine.version) for name in boot.NAMES)
        return boot.BootRecord(tuple(slot for slot in slots if _root(machine, slot).exists()))


def _write(machine: Machine, record: boot.BootRecord) -> None:
    """Replace the record at once. The machine can write into the folder: follow no link that it has put there."""
    file = machine.boot / boot.RECORD
    if file.parent.is_symlink():
        file.parent.unlink()
    file.parent.mkdir(exist_ok=True)
    partial = file.with_suffix(".new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as stream:
        stream.write(record.content())
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(file)


def _root(machine: Machine, slot: boot.Slot) -> Path:
    return machine.boot / slot.folder / "root.squashfs"


def mount_slot(machine: Machine, slot: boot.Slot) -> Path:
    """Mount a slot once for all machines that boot its image; returns the mount point."""
    file = _root(machine, slot)
    target = machine.slots / str(file.stat().st_ino)
    with locked(machine.slots):
        _unmount_unused(machine.slots.parent)
        target.mkdir(exist_ok=True)
        if not os.path.ismount(target):
            run("mount", "-t", "squashfs", "-o", "loop,ro", str(file), str(target))
    return target


def _unmount_unused(state: Path) -> None:
    """Unmount images that no machine has in a slot any more, as after an update.

    A machine that runs from one has a mount of its own.
    """
    files = (*state.glob("*/boot/slots/*/root.squashfs"), *state.glob(".images/*.squashfs"))
    used = set()
    for file in files:
        with suppress(FileNotFoundError):  # its machine was deleted meanwhile
            used.add(file.stat().st_ino)
    for target in (state / ".slots").glob("[0-9]*"):
        if int(target.name) not in used and os.path.ismount(target):
            run("umount", "--lazy", str(target))
            target.rmdir()


def unmount_slots(state: Path) -> None:
    """Unmount every slot; only while no machine runs."""
    slots = state / ".slots"
    for target in slots.glob("[0-9]*") if slots.exists() else ():
        unmount_slot(state, int(target.name))


def unmount_slot(state: Path, inode: int) -> None:
    """Unmount the slot of an image by its inode; does nothing when it is not mounted."""
    target = state / ".slots" / str(inode)
    if os.path.ismount(target):
        run("umount", str(target))
    if target.is_dir():
        target.rmdir()


def remove(machine: Machine) -> None:
    """Delete the machine's folder with everything in it."""
    shutil.rmtree(machine.path, ignore_errors=False)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, against other threads and processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
