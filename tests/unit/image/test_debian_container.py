import json
import shutil
from pathlib import Path

import pytest

from moorage.image import debian_container
from moorage.image.containers import File, Link
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit

IMAGE = """
name: registry.local/thing:3
packages: [thing]
kept: [bin/*, usr/lib/*.so]
left_out: [usr/lib/*big*]
command: [/bin/thing]
environment: {PATH: /bin}
user: "999"
stop_signal: SIGINT
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "thing"
    (made / "root/etc").mkdir(parents=True)
    (made / "image.yaml").write_text(IMAGE)
    (made / "root/etc/thing.conf").write_text("a = b\n")
    (made / "root/etc/thing.conf").chmod(0o600)
    return made


def test_read_recipe(folder):
    recipe = debian_container.read(folder)
    assert recipe.name == "registry.local/thing:3"
    assert recipe.kept == ("bin/*", "usr/lib/*.so")
    assert recipe.layout(Path("/cache")) == Path(f"/cache/example/thing-3-{recipe.hash}")
    assert debian_container.reference(recipe, Path("/cache")) == f"oci:/cache/example/thing-3-{recipe.hash}:3"


@pytest.mark.parametrize(
    ("was", "becomes", "reported"),
    [
        ("kept: [bin/*, usr/lib/*.so]\n", "", "has no kept"),
        ("user:", "usr:", "unexpected keyword argument 'usr'"),
        ('user: "999"\n', "", "missing 1 required positional argument: 'user'"),
        ("packages: [thing]", "packages:", "not a recipe"),
    ],
)
def test_read_invalid_recipe_is_rejected(folder, was, becomes, reported):
    (folder / "image.yaml").write_text(IMAGE.replace(was, becomes))
    with pytest.raises(BadInput, match=reported):
        debian_container.read(folder)


def test_hash_covers_content_and_not_checkout(folder):
    first = debian_container.read(folder).hash
    (folder / "root/etc/thing.conf").chmod(0o644)
    assert debian_container.read(folder).hash == first
    seen = {first}
    (folder / "root/etc/thing.conf").chmod(0o755)
    seen.add(debian_container.read(folder).hash)
    (folder / "root/etc/thing.conf").write_text("a = c\n")
    seen.add(debian_container.read(folder).hash)
    (folder / "root/etc/thing.conf").rename(folder / "root/etc/other.conf")
    seen.add(debian_container.read(folder).hash)
    (folder / "root/etc/link").symlink_to("other.conf")
    seen.add(debian_container.read(folder).hash)
    (folder / "image.yaml").write_text(IMAGE.replace("thing:3", "thing:4"))
    seen.add(debian_container.read(folder).hash)
    assert len(seen) == 6


def test_entries_keep_matching_files_and_own_files(folder):
    (folder / "root/bin").mkdir()
    (folder / "root/bin/thing").write_text("#!/bin/sh\n")
    (folder / "root/bin/thing").chmod(0o700)
    debian = (
        File("bin/other", Path("/d/bin/other")),
        File("bin/thing", Path("/d/bin/thing")),
        Link("usr/lib/libthing.so", "libthing.so.1"),
        File("usr/lib/deep/libdeep.so", Path("/d/libdeep.so")),
        File("usr/lib/libbig.so", Path("/d/libbig.so")),
        File("usr/share/doc/thing", Path("/d/doc")),
    )
    made = debian_container.entries(debian_container.read(folder), debian)
    assert made == (
        File("bin/other", Path("/d/bin/other")),
        Link("usr/lib/libthing.so", "libthing.so.1"),
        File("usr/lib/deep/libdeep.so", Path("/d/libdeep.so")),
        File("bin/thing", folder / "root/bin/thing", 0o755),
        File("etc/thing.conf", folder / "root/etc/thing.conf", 0o644),
    )


def extracted(recipe, root):
    """Stands for mmdebstrap, which needs Debian's archive."""
    (root / "bin").mkdir(parents=True)
    (root / "bin/thing").write_text("program\n")
    (root / "rest").write_text("left out\n")
    return root


@pytest.fixture
def built(folder, tmp_path, monkeypatch):
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    monkeypatch.setattr(debian_container, "_extract", extracted)
    return debian_container.build(debian_container.read(folder), tmp_path / "cache", lambda text: None)


def test_build_creates_oci_layout_with_zstd(built):
    def blob(descriptor):
        return built / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")

    (entry,) = json.loads((built / "index.json").read_text())["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "3"
    manifest = json.loads(blob(entry).read_text())
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert blob(layer).read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    runs = json.loads(blob(manifest["config"]).read_text())["config"]
    assert (runs["User"], runs["Entrypoint"], runs["StopSignal"]) == ("999", ["/bin/thing"], "SIGINT")
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_build_again_does_nothing(built, folder, tmp_path, monkeypatch):
    def not_again(recipe, root):
        raise AssertionError("built again")

    monkeypatch.setattr(debian_container, "_extract", not_again)
    reported = []
    assert debian_container.build(debian_container.read(folder), tmp_path / "cache", reported.append) == built
    assert reported == []


def test_failed_build_leaves_no_image(folder, tmp_path, monkeypatch):
    def broken(recipe, root):
        raise OSError("no space")

    monkeypatch.setattr(debian_container, "_extract", broken)
    recipe = debian_container.read(folder)
    with pytest.raises(OSError, match="no space"):
        debian_container.build(recipe, tmp_path / "cache", lambda text: None)
    assert list((tmp_path / "cache/example").iterdir()) == []
