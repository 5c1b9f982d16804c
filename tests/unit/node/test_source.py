"""The sources of user data, and what each one rejects."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.model.errors import BadInput, NotFound
from moorage.node import source
from serving import serving

pytestmark = pytest.mark.unit

META = json.dumps({"name": "Demo-Worker-0", "uuid": "0f0e0d0c", "availability_zone": "nova"})
FOUND = source.Found("message", "demo-worker-0", source.Server("0f0e0d0c", "nova"))


class Metadata(http.server.ThreadingHTTPServer):
    """A metadata service with some documents; `statuses` are the first answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.documents: dict[str, str] = {}
        self.statuses: list[int] = []
        self.requests = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_GET(self) -> None:
        self.server.requests += 1
        name = self.path.removeprefix("/openstack/latest/")
        found = self.server.documents.get(name)
        status = self.server.statuses.pop(0) if self.server.statuses else 200 if found is not None else 404
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"{self.server.url}/openstack/latest/other")
        self.end_headers()
        self.wfile.write((found or "").encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with serving(Metadata()) as server:
        yield server


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    folder = tmp_path / "openstack/latest"
    folder.mkdir(parents=True)
    (folder / "user_data").write_text("message")
    (folder / "meta_data.json").write_text(META)
    return folder


def test_config_drive_without_user_data_is_not_found(drive: Path) -> None:
    (drive / "user_data").unlink()
    with pytest.raises(NotFound, match="the config drive has no user_data"):
        source.from_folder(drive.parents[1])


def test_config_drive_has_user_data_identity_and_network(drive: Path) -> None:
    assert source.from_folder(drive.parents[1]) == FOUND
    (drive / "network_data.json").write_text('{"links": []}')
    assert source.from_folder(drive.parents[1]).network == {"links": []}
    (drive / "meta_data.json").write_text('{"name": "w"}')
    assert source.from_folder(drive.parents[1]).server == source.UNKNOWN


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("user_data", b"\xff\xfe"),
        ("meta_data.json", META.encode()[:-10]),
        ("meta_data.json", b"[]"),
        ("network_data.json", b"{"),
    ],
)
def test_damaged_document_is_bad_input(drive: Path, name: str, content: bytes) -> None:
    (drive / name).write_bytes(content)
    with pytest.raises(BadInput, match=name.replace("_data", "").partition(".")[0]):
        source.from_folder(drive.parents[1])


def test_metadata_service_is_asked_until_it_answers(metadata: Metadata) -> None:
    metadata.documents = {"user_data": "message", "meta_data.json": META}
    metadata.statuses = [503]
    assert source.from_service(metadata.url, 60) == FOUND


def test_metadata_service_without_user_data_is_not_asked_again(metadata: Metadata) -> None:
    metadata.documents = {"meta_data.json": META}
    with pytest.raises(NotFound, match="the metadata service has no user data"):
        source.from_service(metadata.url, 60)
    assert metadata.requests == 1


def test_metadata_service_that_does_not_answer_is_not_found(metadata: Metadata) -> None:
    metadata.statuses = [503] * 9
    with pytest.raises(NotFound, match="503"):
        source.from_service(metadata.url, 0.1)


def test_metadata_from_elsewhere_is_not_followed(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    metadata.documents = {"user_data": "message", "meta_data.json": META, "other": "not the server's own"}
    metadata.statuses = [302] * 9
    with pytest.raises(NotFound, match="302"):
        source.from_service(metadata.url, 0.1)
