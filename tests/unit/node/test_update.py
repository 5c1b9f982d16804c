"""Updates of a node's image: interrupted anywhere, a slot boots, and the next update goes on."""

from __future__ import annotations

import hashlib
import http.server
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moorage.model.boot import RECORD, TRIES, BootRecord, Slot
from moorage.model.errors import BadInput, Conflict, Failed, QuotaExceeded, TimedOut
from moorage.model.image_statement import Statement
from moorage.node import disk_image, files, slots, update
from moorage.node.layout import Layout
from moorage.node.slots import read_record
from moorage.node.update import ImageSource, roll_back, stage
from moorage.node.waiting import Clock
from serving import serving
from signing import Signer
from tls import with_tls

pytestmark = pytest.mark.unit

OLD, NEW = b"old image", bytes(range(256)) * 2**14  # 4 MiB


class Glance(http.server.ThreadingHTTPServer):
    """Serves one image. `cut` is the number of bytes after which a response ends; `statuses` are the first answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.cut, self.ranges = NEW, 0, True
        self.statuses: list[int] = []
        self.requests: list[tuple[str | None, str | None]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: a client may stop reading."""

    def source(self, version: str = "2", content: bytes = NEW) -> ImageSource:
        url = f"http://127.0.0.1:{self.server_port}/v2/images/id/file"
        return ImageSource(url, hashlib.sha256(content).hexdigest(), version, "token")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Glance

    def do_GET(self) -> None:
        glance, wanted = self.server, self.headers["Range"]
        glance.requests.append((wanted, self.headers["X-Auth-Token"]))
        if glance.statuses:
            self.send_response(glance.statuses.pop(0))
            self.end_headers()
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and glance.ranges else 0
        self.send_response(416 if begin >= len(glance.content) else 206 if begin else 200)
        rest = glance.content[begin:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: glance.cut] if glance.cut else rest)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def glance() -> Iterator[Glance]:
    with serving(Glance()) as server:
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A node that runs the healthy image 1 in slot a."""
    layout = Layout(tmp_path)
    install(layout, Slot("a", "1"))
    layout.boot_slot.parent.mkdir(parents=True)
    layout.boot_slot.write_text("a\n")
    layout.blessed.touch()
    return layout


def install(layout: Layout, *slots: Slot) -> None:
    (layout.boot / RECORD).parent.mkdir(parents=True, exist_ok=True)
    (layout.boot / RECORD).write_bytes(BootRecord(slots, (("options", "quiet"),)).content())
    for slot in slots:
        (layout.boot / slot.folder).mkdir(parents=True, exist_ok=True)
        (layout.boot / slot.folder / "root.squashfs").write_bytes(OLD)


def record(layout: Layout) -> BootRecord:
    return read_record(layout)


def content(layout: Layout, name: str) -> bytes:
    return (layout.boot / "slots" / name / "root.squashfs").read_bytes()


def clock(sleep: Callable[[float], None] = lambda seconds: None) -> Clock:
    """A clock on which each look takes a second."""
    now = iter(range(10**6))
    return Clock(lambda: float(next(now)), sleep)


def staged(layout: Layout, source: ImageSource) -> Slot:
    return stage(layout, source, clock(), lambda line: None)


def test_image_is_staged_in_the_other_slot_with_three_attempts(layout: Layout, glance: Glance) -> None:
    said: list[str] = []
    assert stage(layout, glance.source(), clock(), said.append) == Slot("b", "2", TRIES)
    assert record(layout) == BootRecord((Slot("b", "2", TRIES), Slot("a", "1")), (("options", "quiet"),))
    assert (content(layout, "a"), content(layout, "b")) == (OLD, NEW)
    assert glance.requests == [(None, "token")]
    assert said[-2:] == ["fetched 4 of 4 MiB", "verifying the image"]


def test_update_again_requests_nothing(layout: Layout, glance: Glance) -> None:
    for _ in range(2):
        staged(layout, glance.source())
    layout.boot_slot.write_text("b\n")
    (layout.boot / RECORD).write_bytes(record(layout).blessed("b").content())
    assert staged(layout, glance.source()) == Slot("b", "2")
    assert len(glance.requests) == 1


def test_failed_image_gets_three_attempts_again(layout: Layout, glance: Glance) -> None:
    staged(layout, glance.source())
    install(layout, Slot("b", "2", 0), Slot("a", "1"))
    (layout.boot / "slots/b/root.squashfs").write_bytes(NEW)
    assert staged(layout, glance.source()) == Slot("b", "2", TRIES)
    assert len(glance.requests) == 1


def test_download_resumes_in_the_same_and_in_the_next_update(layout: Layout, glance: Glance) -> None:
    glance.cut = 3 * 2**20
    glance.content = NEW[: 2**20]  # the file ends before its length
    with pytest.raises(Failed, match="hash differs"):
        staged(layout, glance.source())
    glance.content, glance.requests = NEW, []
    staged(layout, glance.source())
    assert [wanted for wanted, _ in glance.requests] == [None, f"bytes={3 * 2**20}-"]
    assert content(layout, "b") == NEW


def test_server_without_ranges_starts_over(layout: Layout, glance: Glance) -> None:
    glance.cut, glance.ranges = 2**20, False
    with pytest.raises(TimedOut, match="ended after 1048576 of 4194304 bytes"):
        staged(layout, glance.source())
    glance.cut = 0
    staged(layout, glance.source())
    assert content(layout, "b") == NEW


def test_service_that_is_down_for_a_while_is_asked_again(layout: Layout, glance: Glance) -> None:
    glance.statuses = [503, 500]
    staged(layout, glance.source())
    assert len(glance.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refused_request_is_not_repeated(layout: Layout, glance: Glance, status: int) -> None:
    glance.statuses = [status]
    with pytest.raises(BadInput, match=str(status)):
        staged(layout, glance.source())
    assert record(layout).next == Slot("a", "1")


def test_other_content_is_refused(layout: Layout, glance: Glance) -> None:
    glance.content = b"x" + NEW[1:]
    with pytest.raises(Failed, match="is not the image"):
        staged(layout, glance.source())
    assert record(layout).slots == (Slot("a", "1"),)
    assert list((layout.boot / "slots/b").iterdir()) == []


def test_full_boot_partition_is_refused(layout: Layout, glance: Glance, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 3, 2**20

    monkeypatch.setattr(update.os, "statvfs", lambda path: Full)
    with pytest.raises(QuotaExceeded, match=r"needs 4 MiB in .*, where are 3 MiB"):
        staged(layout, glance.source())


def test_boot_that_is_not_healthy_yet_keeps_the_other_slot(layout: Layout, glance: Glance) -> None:
    install(layout, Slot("a", "2"), Slot("b", "1"))
    layout.blessed.unlink()
    with pytest.raises(TimedOut, match="this boot of slot a is not healthy yet"):
        staged(layout, glance.source("3"))
    with pytest.raises(TimedOut, match="this boot of slot a is not healthy yet"):
        roll_back(layout, "1", clock())
    assert content(layout, "b") == OLD


def test_staged_image_is_cancelled_by_the_running_one(layout: Layout, glance: Glance) -> None:
    staged(layout, glance.source())
    assert staged(layout, glance.source("1", OLD)) == Slot("a", "1")
    assert record(layout).next == Slot("a", "1")
    assert staged(layout, glance.source()) == Slot("b", "2", TRIES)
    assert len(glance.requests) == 1


def test_image_of_another_format_is_refused(layout: Layout, glance: Glance) -> None:
    with pytest.raises(BadInput, match="boots images of the format squashfs, and the image is of disk"):
        staged(layout, replace(glance.source(), format="disk"))
    (layout.boot / "slots/a/modules.squashfs").touch()
    with pytest.raises(BadInput, match="boots images of the format disk, and the image is of squashfs"):
        staged(layout, glance.source())
    assert glance.requests == []


@pytest.fixture
def server(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A server that GRUB boots; the files of a disk image are its bytes."""

    def extract(image: Path, scratch: Path, folder: Path) -> Path:
        (folder / "a").mkdir()
        (folder / "a/root.squashfs").write_bytes(image.read_bytes())
        return folder / "a"

    monkeypatch.setattr(update, "extract_slot", extract)
    monkeypatch.setattr(slots, "_write_back_journal", lambda layout: None)
    (layout.boot / "slots/a/modules.squashfs").touch()
    return layout


def test_slot_of_a_server_is_filled_from_a_disk(server: Layout, glance: Glance) -> None:
    source = replace(glance.source(), format="disk")
    for _ in range(2):
        assert staged(server, source) == Slot("b", "2", TRIES)
    assert content(server, "b") == NEW
    assert len(glance.requests) == 1
    assert not server.downloads.exists()
    assert not server.incoming.exists()


def test_file_that_is_no_disk_is_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a qcow2 file"):
        disk_image.extract_slot(layout.boot / "slots/a/root.squashfs", tmp_path / "scratch", tmp_path)
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("others", [(), (Slot("b", "2", 0),), (Slot("b", "3"),)])
def test_rollback_takes_a_healthy_image_only(layout: Layout, others: tuple[Slot, ...]) -> None:
    install(layout, Slot("a", "1"), *others)
    with pytest.raises(Conflict, match="no slot has a healthy 2"):
        roll_back(layout, "2", clock())


def test_rollback_again_changes_nothing(layout: Layout) -> None:
    install(layout, Slot("a", "1"), Slot("b", "2"))
    for _ in range(2):
        assert roll_back(layout, "2", clock()) == Slot("b", "2")
        assert record(layout).next == Slot("b", "2")
        layout.boot_slot.write_text("b\n")


class PowerCut(BaseException):
    """The machine loses its power."""


@pytest.mark.parametrize("format", ["squashfs", "disk"])
def test_power_lost_after_any_change_leaves_a_slot_that_boots(
    request: pytest.FixtureRequest, glance: Glance, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """Each operation on the disk is the last one, in turn."""
    layout = request.getfixturevalue("server" if format == "disk" else "layout")
    source = replace(glance.source(), format=format)
    install(layout, Slot("a", "1"), Slot("b", "0"))
    remaining = [0]

    def cutting(operation: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            if remaining[0] == 0:
                raise PowerCut
            remaining[0] -= 1
            return operation(*args, **options)

        return run

    paths = ((Path, name) for name in ("unlink", "rename", "rmdir"))
    for holder, name in ((files, "write"), (files, "sync"), (shutil, "rmtree"), *paths):
        monkeypatch.setattr(holder, name, cutting(getattr(holder, name)))
    for count in range(100):
        install(layout, Slot("a", "1"), Slot("b", "0"))
        remaining[0] = count
        try:
            staged(layout, source)
            break
        except PowerCut:
            slot = record(layout).next
            assert slot is not None
            assert content(layout, slot.name) == {"0": OLD, "1": OLD, "2": NEW}[slot.version]
            remaining[0] = -1
            staged(layout, source)
            assert record(layout).next == Slot("b", "2", TRIES)
    assert count > 5
    assert content(layout, "b") == NEW


@pytest.fixture
def signer(layout: Layout) -> Signer:
    """A publisher that the node trusts."""
    made = Signer()
    layout.trusted_keys.mkdir(parents=True)
    (layout.trusted_keys / "0.pub").write_text(made.public)
    return made


def signed(source: ImageSource, signer: Signer, **other: str) -> ImageSource:
    properties = {"moorage_version": source.version, "moorage_format": source.format} | other
    text = Statement("moorage", "node.squashfs", len(NEW), source.sha256, "raw", 4, 1024, properties).text
    return replace(source, statement=text, signature=signer.sign(text.encode()))


def test_node_with_a_trusted_key_accepts_what_it_signed(layout: Layout, glance: Glance, signer: Signer) -> None:
    assert stage(layout, signed(glance.source(), signer), Clock(), print).version == "2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda source, signer: source, "is not signed, and this node accepts only"),
        (lambda source, signer: replace(signed(source, signer), statement=""), "is not signed"),
        (lambda source, signer: replace(signed(source, signer), signature="x"), "not a signature"),
        (lambda source, signer: signed(source, Signer()), "and trusted are"),
        (lambda source, signer: replace(signed(source, signer), version="3"), "statement is of another image"),
        (lambda source, signer: replace(signed(source, signer), sha256="0" * 64), "statement is of another image"),
        (lambda source, signer: signed(source, signer, moorage_format="disk"), "statement is of another image"),
        (
            lambda source, signer: replace(signed(source, signer), statement=signed(source, signer).statement + " "),
            "does not match",
        ),
    ],
)
def test_what_no_trusted_key_signed_is_refused_before_anything_is_written(
    layout: Layout, glance: Glance, signer: Signer, change: Callable[..., ImageSource], reason: str
) -> None:
    before = read_record(layout)
    with pytest.raises(BadInput, match=reason):
        stage(layout, change(glance.source(), signer), Clock(), print)
    assert read_record(layout) == before
    assert glance.requests == []


def test_cloud_with_a_private_ca_is_verified(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "UNRESPONSIVE", 0.2)
    server = Glance()
    certificate = with_tls(server)
    with serving(server) as glance:
        source = replace(glance.source(), url=glance.source().url.replace("http:", "https:"))
        with pytest.raises(TimedOut, match="CERTIFICATE_VERIFY_FAILED"):
            stage(layout, source, Clock(), print)
        layout.cloud_ca.parent.mkdir(parents=True)
        layout.cloud_ca.write_text(certificate)
        assert stage(layout, source, Clock(), print).version == "2"
