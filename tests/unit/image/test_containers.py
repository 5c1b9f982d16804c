import hashlib
import json
import tarfile
from dataclasses import replace

import pytest

from moorage.image.containers import ContainerImage, File, Link, tree, write_archive

pytestmark = pytest.mark.unit


@pytest.fixture
def image(tmp_path):
    program = tmp_path / "hello"
    program.write_bytes(b"#!/bin/sh\n")
    return ContainerImage(
        "registry.local/hello:1",
        (File("bin/hello", program), Link("bin/hi", "hello")),
        ("/bin/hello",),
        {"PATH": "/bin", "LANG": "C"},
        user="1000",
    )


def read(archive, name):
    with tarfile.open(archive) as tar:
        return tar.extractfile(name).read()


def test_archive_names_image_and_layer_digest(image, tmp_path):
    write_archive(image, tmp_path / "image.tar")
    (entry,) = json.loads(read(tmp_path / "image.tar", "manifest.json"))
    assert entry["RepoTags"] == ["registry.local/hello:1"]
    text = read(tmp_path / "image.tar", entry["Config"])
    assert entry["Config"] == f"{hashlib.sha256(text).hexdigest()}.json"
    config = json.loads(text)
    layer = read(tmp_path / "image.tar", entry["Layers"][0])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/bin/hello"]
    assert config["config"]["Env"] == ["LANG=C", "PATH=/bin"]
    assert config["config"]["User"] == "1000"


def test_layer_has_folders_first_owned_by_root(image, tmp_path):
    write_archive(image, tmp_path / "image.tar")
    (tmp_path / "layer.tar").write_bytes(read(tmp_path / "image.tar", "layer.tar"))
    with tarfile.open(tmp_path / "layer.tar") as layer:
        members = layer.getmembers()
        assert [member.name for member in members] == ["bin", "bin/hello", "bin/hi"]
        assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
        assert layer.getmember("bin/hello").mode == 0o755
        assert layer.getmember("bin/hi").linkname == "hello"


def test_same_inputs_give_same_bytes(image, tmp_path):
    write_archive(image, tmp_path / "one.tar")
    write_archive(image, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_tree_lists_entries(tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www/page").write_text("hello")
    (tmp_path / "www/page").chmod(0o640)
    (tmp_path / "index").symlink_to("www/page")
    assert tree(tmp_path) == (
        Link("index", "www/page"),
        File("www/page", tmp_path / "www/page", 0o640),
    )


def test_stop_signal_only_when_not_default(image, tmp_path):
    def stop_signal(made):
        write_archive(made, tmp_path / "image.tar")
        (entry,) = json.loads(read(tmp_path / "image.tar", "manifest.json"))
        return json.loads(read(tmp_path / "image.tar", entry["Config"]))["config"].get("StopSignal")

    assert stop_signal(image) is None
    assert stop_signal(replace(image, stop_signal="SIGINT")) == "SIGINT"


def test_missing_source_raises(tmp_path):
    missing = ContainerImage("a:1", (File("gone", tmp_path / "gone"),), ("/gone",))
    with pytest.raises(FileNotFoundError):
        write_archive(missing, tmp_path / "image.tar")
