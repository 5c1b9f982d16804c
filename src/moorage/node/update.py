"""`moorage-node update`: fetch an image into the slot that did not boot, and make it the next one to boot.

The order of writes leaves a slot that boots at any time: the other slot leaves the record before its files change, and
returns with three attempts once they are complete and verified.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moorage.host.minisign import PublicKey, verify
from moorage.model.boot import NAMES, SQUASHFS, Slot
from moorage.model.errors import BadInput, Conflict, Failed, MoorageError, QuotaExceeded
from moorage.model.image_statement import Statement
from moorage.node import files
from moorage.node.disk_image import extract_slot
from moorage.node.layout import Layout
from moorage.node.machine import Machine
from moorage.node.slots import booted_slot, format_of, read_record, write_record
from moorage.node.userdata import verifying
from moorage.node.waiting import Clock, Deadline, NotYet

PART = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
BLESSING = 120.0
"""Seconds for a boot that has just begun to get healthy."""
UNRESPONSIVE = 300.0
"""Seconds of failing requests after which a download ends; the next update resumes it."""
ROOT = "root.squashfs"
SOURCE = "source"
"""In a slot that was filled from a disk image: the image's hash."""


@dataclass(frozen=True)
class ImageSource:
    """An image by HTTP, in one of Moorage's formats; `token` is Keystone's, for Glance.

    `statement` and `signature` are its publisher's, if it has any.
    """

    url: str
    sha256: str
    version: str
    token: str = ""
    format: str = SQUASHFS
    statement: str = ""
    signature: str = ""


def stage(layout: Layout, source: ImageSource, clock: Clock, say: Callable[[str], None]) -> Slot:
    """Put the image into the slot that did not boot, to be booted next; returns the slot.

    May be repeated, and resumes; the image that the node runs needs no other slot, and boots next again. TimedOut when
    this boot does not get healthy; QuotaExceeded when a partition has no space; Failed when what was fetched is not the
    image; BadInput for an image of another format than the machine boots, or that no trusted key signed.
    """
    check_signature(layout, source)
    running = _healthy_slot(layout, clock)
    record, booted = read_record(layout), running.name
    if running.version == source.version:
        write_record(layout, record.first(booted))
        return running
    if (wanted := format_of(layout)) != source.format:
        raise BadInput(f"this machine boots images of the format {wanted}, and the image is of {source.format}")
    target = Slot(next(name for name in NAMES if name != booted), source.version)
    folder = layout.boot / target.folder
    if target.version not in {slot.version for slot in record.slots} or not _has(folder, source):
        record = record.without(target.name)
        write_record(layout, record)
        if source.format == SQUASHFS:
            _fetch(layout, folder / ROOT, source, clock, say)
        else:
            _fill_from_disk(layout, folder, source, clock, say)
    chosen = record.without(target.name).installed(source.version)
    write_record(layout, chosen)
    return chosen.slots[0]


def check_signature(layout: Layout, source: ImageSource) -> None:
    """BadInput unless a key that this node trusts signed the image, if it trusts any."""
    keys = [PublicKey.parse(file.read_text()) for file in sorted(layout.trusted_keys.glob("*.pub"))]
    if not keys:
        return
    if not source.statement or not source.signature:
        names = ", ".join(key.name for key in keys)
        raise BadInput(
            f"the image {source.version} is not signed, and this node accepts only what these keys signed: {names}",
            "sign its statement with minisign, and upload it again",
        )
    verify(source.statement.encode(), source.signature, keys)
    stated = Statement.parse(source.statement)
    own = (source.sha256, source.version, source.format)
    if own != (stated.sha256, stated.properties.get("moorage_version"), stated.properties.get("moorage_format")):
        raise BadInput(f"the signed statement is of another image than {source.version}: {stated.name}")


def _has(folder: Path, source: ImageSource) -> bool:
    """Whether a slot has the files of this image, completely."""
    if source.format == SQUASHFS:
        return _hash(folder / ROOT) == source.sha256
    file = folder / SOURCE
    return file.exists() and file.read_text().strip() == source.sha256


def _fill_from_disk(
    layout: Layout, folder: Path, source: ImageSource, clock: Clock, say: Callable[[str], None]
) -> None:
    """Download a disk image to /var, and copy its slot."""
    for old in (folder, layout.incoming):
        shutil.rmtree(old, ignore_errors=True)
    image = layout.downloads / "disk.qcow2"
    _fetch(layout, image, source, clock, say)
    say("copying the image's files")
    layout.incoming.mkdir()
    made = extract_slot(image, layout.downloads / "partition", layout.incoming)
    files.write(made / SOURCE, files.File(f"{source.sha256}\n"))
    for path in (*made.iterdir(), made):
        files.sync(path)
    made.rename(folder)
    files.sync(folder.parent)
    layout.incoming.rmdir()
    shutil.rmtree(layout.downloads)


def roll_back(layout: Layout, version: str, clock: Clock) -> Slot:
    """Make the slot with this version the next one to boot; Conflict when there is none that was healthy; TimedOut."""
    _healthy_slot(layout, clock)
    record = read_record(layout)
    slot = next((slot for slot in record.slots if slot.version == version and slot.left is None), None)
    if slot is None:
        raise Conflict(f"no slot has a healthy {version}")
    write_record(layout, record.first(slot.name))
    return slot


def _healthy_slot(layout: Layout, clock: Clock) -> Slot:
    """The slot that was booted, once this boot is healthy: until then no other slot may be replaced."""

    def attempt() -> Slot:
        booted = booted_slot(layout)
        slot = read_record(layout).slot(booted)
        if slot is None or not layout.blessed.exists():
            raise NotYet(f"this boot of slot {booted} is not healthy yet: no other slot may be replaced")
        return slot

    return Deadline.after(BLESSING, clock).until(attempt, interval=1.0)


def switch(layout: Layout, machine: Machine) -> bool:
    """Reboot if another slot than the booted one is the next; whether it is."""
    chosen = read_record(layout).next
    if chosen is None or chosen.name == booted_slot(layout):
        return False
    machine.reboot()
    return True


def on_trial(layout: Layout) -> Slot | None:
    """The slot that was booted, if its image has not been healthy yet while the other slot's was; else None."""
    try:
        record, booted = read_record(layout), booted_slot(layout)
    except (FileNotFoundError, MoorageError):
        return None
    slot = record.slot(booted)
    healthy = any(other.left is None for other in record.slots if other.name != booted)
    return slot if slot and slot.left is not None and healthy else None


def give_up(layout: Layout, slot: Slot) -> None:
    """Boot the other slot next: another attempt of this one would fail in the same way."""
    write_record(layout, read_record(layout).rejected(slot.name))


def _fetch(layout: Layout, file: Path, source: ImageSource, clock: Clock, say: Callable[[str], None]) -> None:
    """Download in parts to a file with the image's hash in its name, verify it, and give it its name.

    Other files beside it are deleted.
    """
    partial = file.with_name(f"{source.sha256[:16]}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    for other in partial.parent.iterdir():
        if other != partial:
            other.unlink()
    certificates = layout.cloud_ca.read_text() if layout.cloud_ca.exists() else ""
    download = _Download(partial, source, say, verifying(certificates))
    while not download.complete:
        download.resume(clock)
    say("verifying the image")
    if _hash(partial) != source.sha256:
        partial.unlink()
        raise Failed(
            f"what {source.url} returned is not the image: its hash differs", "update again, or upload it again"
        )
    files.sync(partial)
    partial.rename(file)
    files.sync(file.parent)


class _Download:
    """A file that grows by HTTP requests for what it lacks."""

    def __init__(self, file: Path, source: ImageSource, say: Callable[[str], None], context: ssl.SSLContext) -> None:
        self.file, self.source, self.say, self.context = file, source, say, context
        self.complete = False
        self.tenths = -1

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def resume(self, clock: Clock) -> None:
        """Request what is missing until some of it comes; TimedOut after UNRESPONSIVE seconds without any."""
        before = self.size

        def attempt() -> None:
            try:
                self._request()
            except NotYet:
                if self.size == before:
                    raise

        Deadline.after(UNRESPONSIVE, clock).until(attempt, interval=1.0)

    def _request(self) -> None:
        """NotYet when not all came, BadInput when it never will."""
        request = urllib.request.Request(self.source.url)
        if self.source.token:
            request.add_unredirected_header("X-Auth-Token", self.source.token)
        if self.size:
            request.add_header("Range", f"bytes={self.size}-")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=self.context) as answer:
                self._receive(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # nothing is left: an earlier attempt ended after the last byte
                self.complete = True
            elif error.code < 500:
                raise BadInput(f"{self.source.url} answered {error.code} {error.reason}") from error
            else:
                raise NotYet(f"{self.source.url} answered {error.code} {error.reason}") from error
        except OSError as error:
            raise NotYet(f"{self.source.url}: {error}") from error

    def _receive(self, answer: http.client.HTTPResponse) -> None:
        begin = self.size if answer.status == 206 else 0
        length = int(answer.headers.get("Content-Length") or 0)
        space = os.statvfs(self.file.parent)
        if length > space.f_bavail * space.f_frsize + self.size - begin:
            raise QuotaExceeded(
                f"the image needs {length >> 20} MiB in {self.file.parent}, where are "
                f"{space.f_bavail * space.f_frsize >> 20} MiB"
            )
        with self.file.open("r+b" if begin else "wb") as stream:
            stream.seek(begin)
            while part := answer.read(PART):
                stream.write(part)
                self._report(stream.tell(), begin + length)
        if length and self.size < begin + length:
            raise NotYet(f"{self.source.url} ended after {self.size} of {begin + length} bytes")
        self.complete = True

    def _report(self, size: int, whole: int) -> None:
        tenths = size * 10 // max(whole, 1)
        if tenths != self.tenths:
            self.tenths = tenths
            self.say(f"fetched {size >> 20} of {whole >> 20} MiB")


def _hash(file: Path) -> str:
    """The SHA-256 of a file; empty without the file."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
