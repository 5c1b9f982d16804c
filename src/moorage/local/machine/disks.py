"""A machine's root disk, its boot partition, and the slots that all machines share (docs/adr/0001)."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moorage.host.run import run
from moorage.local.machine.spec import Machine
from moorage.model import boot

GIB = 2**30
NO_ENTRY = "the machine has no boot entry"


class NoBootEntry(Exception):
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
    """Put an image into its slot, with a boot entry of three attempts; does nothing when it is installed."""
    entry, text = boot.new(machine.version)
    slot = machine.boot / entry.slot.lstrip("/")
    entries = machine.boot / "loader" / "entries"
    for folder in (slot.parent, entries):
        folder.mkdir(parents=True, exist_ok=True)
    if not slot.exists():
        os.link(image, slot)
    if not any(entries.glob(f"{entry.id}*.conf")):
        (entries / entry.filename).write_text(text)


def next_entry(machine: Machine) -> boot.Entry:
    """Choose the boot entry and count the attempt; NoBootEntry when there is none."""
    folder = machine.boot / "loader" / "entries"
    entries = {boot.Entry.parse(path.name, path.read_text()): path for path in sorted(folder.glob("*.conf"))}
    entry = boot.choose(entries)
    if entry is None:
        raise NoBootEntry(NO_ENTRY)
    counted = boot.counted_down(entry)
    if counted != entry:
        entries[entry].rename(folder / counted.filename)
    return counted


def mount_slot(machine: Machine, entry: boot.Entry) -> Path:
    """Mount a slot once for all machines that boot it; returns the mount point."""
    file = machine.boot / entry.slot.lstrip("/")
    target = machine.slots / str(file.stat().st_ino)
    with locked(machine.slots):
        target.mkdir(exist_ok=True)
        if not os.path.ismount(target):
            run("mount", "-t", "squashfs", "-o", "loop,ro", str(file), str(target))
    return target


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
