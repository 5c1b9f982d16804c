"""Published images: their statements, signatures and trusted keys, and what a server may send instead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from moorage.cloud.port.images import ImageFile
from moorage.host.minisign import PublicKey
from moorage.image.signed import fetch, load, state, trust, trusted, with_signature
from moorage.model.errors import BadInput, Failed, NotFound
from moorage.model.image_statement import SIGNATURE, STATEMENT, Statement
from serving import folder_server, serving
from signing import Signer

pytestmark = pytest.mark.unit

CONTENT = b"QFI\xfb" + bytes(range(256)) * 4096


@pytest.fixture
def signer():
    return Signer()


@pytest.fixture
def image(tmp_path):
    """An image that its publisher built."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "disk.qcow2").write_bytes(CONTENT)
    properties = {"moorage_version": "12-1", "moorage_format": "disk"}
    return ImageFile("moorage-12-1-server", folder / "disk.qcow2", 8, 2048, properties, "qcow2")


@pytest.fixture
def published(image, signer):
    """Its folder on an HTTP server; the address of its statement."""
    statement = state(image)
    statement.with_name("disk.qcow2.json.minisig").write_text(signer.sign(statement.read_bytes()))
    with serving(folder_server(("127.0.0.1", 0), image.file.parent)) as server:
        yield f"http://127.0.0.1:{server.server_port}/disk.qcow2.json"


def test_fetched_image_is_the_published_one_and_is_uploaded_with_its_signature(published, signer, image, tmp_path):
    reported = []
    statement = fetch(published, [signer.public], tmp_path / "fetched", reported.append)
    found = load(statement)
    assert found.file.read_bytes() == CONTENT
    assert replace(found, file=image.file) == image
    assert f"{image.name} is signed by" in reported[0]
    assert "accept updates without a signature" in reported[1]
    assert "100 % of 1 MiB" in reported[-1]

    signed = with_signature(found, [signer.public]).properties
    assert Statement.parse(signed[STATEMENT]).properties == image.properties
    assert signed[SIGNATURE] == (image.file.parent / "disk.qcow2.json.minisig").read_text()
    assert fetch(published, [signer.public], tmp_path / "fetched", reported.append) == statement


def test_image_that_contains_its_publishers_key_is_fetched_without_a_warning(image, signer, tmp_path):
    name = PublicKey.parse(signer.public).name
    own = replace(image, properties={**image.properties, "moorage_trusted_keys": f"0123,{name}"})
    statement = state(own)
    statement.with_name("disk.qcow2.json.minisig").write_text(signer.sign(statement.read_bytes()))
    reported = []
    with serving(folder_server(("127.0.0.1", 0), image.file.parent)) as server:
        address = f"http://127.0.0.1:{server.server_port}/disk.qcow2.json"
        fetch(address, [signer.public], tmp_path / "fetched", reported.append)
    assert not any("without a signature" in text for text in reported)


def test_interrupted_download_goes_on(published, signer, tmp_path):
    statement = fetch(published, [signer.public], tmp_path / "fetched", lambda text: None)
    file = statement.with_name("disk.qcow2")
    file.rename(f"{file}.part")
    with file.with_name("disk.qcow2.part").open("r+b") as part:
        part.truncate(1000)
    assert load(fetch(published, [signer.public], tmp_path / "fetched", lambda text: None)).file.read_bytes() == CONTENT


def test_other_files_than_the_signed_ones_are_refused(published, signer, image, tmp_path):
    def refused(reason, kind=BadInput, keys=(signer.public,)):
        with pytest.raises(kind, match=reason):
            fetch(published, keys, tmp_path / "fetched", lambda text: None)
        assert list((tmp_path / "fetched").rglob("disk.qcow2")) == []

    refused("no key is trusted", keys=())
    refused("and trusted are", keys=(Signer().public,))
    for content in (CONTENT[:-1] + b"x", CONTENT + b"x"):
        image.file.write_bytes(content)
        refused("not what was signed", Failed)
    image.file.write_bytes(CONTENT[:-1])
    refused("ended after", Failed)
    image.file.write_bytes(CONTENT)
    statement = image.file.parent / "disk.qcow2.json"
    statement.write_text(statement.read_text().replace("12-1", "13-1"))
    refused("does not match")
    (image.file.parent / "disk.qcow2.json.minisig").unlink()
    refused("404", Failed)


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "..", ".", ""])
def test_statement_cannot_name_a_file_elsewhere(image, file):
    document = json.loads(state(image).read_text())
    with pytest.raises(BadInput, match="not the statement of an image"):
        Statement.parse(json.dumps({**document, "file": file}))


@pytest.mark.parametrize(
    "change",
    [
        {"size": "1"},
        {"sha256": "/etc/cron.d/" + "0" * 52},
        {"file": "a\0b"},
        {"file": "-a"},
        {"properties": {"a": 1}},
        {"properties": None},
        {"name": 1},
        {"more": 1},
        {"min_disk": None},
    ],
)
def test_damaged_statement_is_refused(image, change):
    document = json.loads(state(image).read_text())
    for text in (json.dumps({**document, **change}), "<html>", "[]", "1"):
        with pytest.raises(BadInput, match="not the statement of an image"):
            Statement.parse(text)


def test_unsigned_image_is_uploaded_only_by_who_trusts_no_key(image, signer):
    state(image)
    assert with_signature(image, ()) == image
    with pytest.raises(BadInput, match="is not signed") as raised:
        with_signature(image, [signer.public])
    assert "minisign -Sm" in raised.value.hint


def test_signature_of_a_former_file_is_dropped(image, signer):
    statement = state(image)
    signature = statement.with_name("disk.qcow2.json.minisig")
    signature.write_text(signer.sign(statement.read_bytes()))
    assert state(image) == statement
    assert signature.exists()
    image.file.write_bytes(CONTENT + b"x")
    state(image)
    assert not signature.exists()


def test_image_without_its_file_is_not_uploaded(image):
    statement = state(image)
    for content in (b"short", CONTENT[:-1] + b"x"):
        image.file.write_bytes(content)
        with pytest.raises(BadInput, match="is not the file of"):
            load(statement)
    with pytest.raises(NotFound, match="no statement"):
        load(Path())
    with pytest.raises(NotFound, match="no statement"):
        load(statement.with_name("other.json"))


def test_keys_are_trusted_once_and_damaged_ones_are_reported(tmp_path, signer):
    assert trusted(tmp_path / "keys") == ()
    key = trust(tmp_path / "keys", signer.public)
    trust(tmp_path / "keys", signer.public)
    assert trusted(tmp_path / "keys") == (signer.public,)
    with pytest.raises(BadInput, match="not a public key"):
        trust(tmp_path / "keys", "hello")
    (tmp_path / "keys" / f"{key.name}.pub").write_text("hello")
    with pytest.raises(BadInput, match="not a public key"):
        trusted(tmp_path / "keys")


def test_address_must_be_one_of_http(signer, tmp_path):
    with pytest.raises(BadInput, match="--from 'file:///etc/passwd'"):
        fetch("file:///etc/passwd", [signer.public], tmp_path, lambda text: None)
