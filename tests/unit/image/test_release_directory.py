import hashlib
import json

import pytest

from moorage.image.release import Entry, Finding, Manifest, Release, find_release, verify
from moorage.model.errors import Failed, NotFound

pytestmark = pytest.mark.unit


def entry(name, content=b"program", **more):
    return Entry(name, "v1", f"example.org/{name}@v1", hashlib.sha256(content).hexdigest(), len(content), **more)


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "0123456789abcdef"
    (folder / "bin").mkdir(parents=True)
    for name in ("kubernetes", "etcd"):
        (folder / "bin" / name).write_bytes(b"program")
        (folder / "bin" / name).chmod(0o755)
    (folder / "bin" / "kubelet").symlink_to("kubernetes")
    (folder / "share").mkdir()
    (folder / "share" / "kinds.yaml").write_bytes(b"data")
    programs = (entry("kubernetes"), entry("kubelet", link="kubernetes"), entry("etcd"))
    programs += (entry("kinds.yaml", b"data", kind="data"),)
    (folder / "manifest.json").write_text(Manifest(folder.name, "v1.37.2", programs).text())
    return Release(folder)


def test_release_has_versions_and_programs(release):
    assert release.hash == release.manifest.release == "0123456789abcdef"
    assert release.kubernetes_version == "v1.37.2"
    assert release.program("kubelet").resolve() == release.program("kubernetes")
    assert [one.name for one in release.manifest.files] == ["kubernetes", "etcd", "kinds.yaml"]
    assert release.data("kinds.yaml").read_bytes() == b"data"
    for absent in (lambda: release.program("kubecolor"), lambda: release.program("kinds.yaml")):
        with pytest.raises(NotFound, match=r"no program (kubecolor|kinds\.yaml)"):
            absent()


def test_manifest_is_read_back(release):
    manifest = release.manifest
    assert Manifest.parse(manifest.text(), "here") == manifest
    assert "link" not in json.loads(manifest.text())["programs"][0]


def test_manifest_without_kind_is_of_programs(release):
    fields = json.loads(release.manifest.text())
    fields["programs"] = [{key: one[key] for key in one if key != "kind"} for one in fields["programs"][:3]]
    assert Manifest.parse(json.dumps(fields), "here").programs == release.manifest.programs[:3]


def test_verify_intact_release_has_no_findings(release):
    assert verify(release) == []


def test_verify_finds_changed_missing_and_unexpected_files(release):
    bin = release.directory / "bin"
    (bin / "etcd").write_bytes(b"progrem")
    (bin / "kubelet").unlink()
    (bin / "miner").write_text("")
    (release.directory / "notes").mkdir()
    (release.directory / "share" / "kinds.yaml").write_bytes(b"dates")
    (release.directory / "share" / "etcd").write_bytes(b"program")
    assert verify(release) == [
        Finding("etcd", "changed"),
        Finding("etcd", "unexpected"),
        Finding("kinds.yaml", "changed"),
        Finding("kubelet", "missing"),
        Finding("miner", "unexpected"),
        Finding("notes", "unexpected"),
    ]


@pytest.mark.parametrize("way", ["other size", "not executable", "a link instead", "a folder instead"])
def test_verify_finds_every_kind_of_change(release, way):
    path = release.program("etcd")
    if way == "other size":
        path.write_bytes(b"more than before")
    elif way == "not executable":
        path.chmod(0o644)
    else:
        path.unlink()
        path.symlink_to("kubernetes") if way == "a link instead" else path.mkdir()
    assert verify(release) == [Finding("etcd", "changed")]


def test_data_is_not_executable(release):
    release.data("kinds.yaml").chmod(0o755)
    assert verify(release) == [Finding("kinds.yaml", "changed")]


def test_verify_finds_changed_link(release):
    path = release.program("kubelet")
    path.unlink()
    path.symlink_to("etcd")
    assert verify(release) == [Finding("kubelet", "changed")]


def test_missing_release_is_not_found_with_hint(tmp_path):
    with pytest.raises(NotFound) as caught:
        find_release(tmp_path)
    assert caught.value.hint == "moorage release build"


GOOD = entry("etcd").fields()


@pytest.mark.parametrize(
    ("programs", "reports"),
    [
        ([GOOD | {"name": "../etcd"}], "plain name"),
        ([GOOD | {"name": "/etc/passwd"}], "plain name"),
        ([GOOD | {"name": ""}], "plain name"),
        ([GOOD | {"name": 7}], "not a release's manifest"),
        ([GOOD | {"link": "../../bin/sh"}], "plain name"),
        ([GOOD | {"sha256": "abc"}], "SHA-256"),
        ([GOOD | {"size": -1}], "size"),
        ([GOOD | {"size": "12"}], "size"),
        ([GOOD | {"colour": "red"}], "colour"),
        ([GOOD | {"kind": "../.."}], "not a kind of file"),
        ([GOOD | {"kind": ["program"]}], "not a release's manifest"),
        ([{"name": "etcd"}], "missing"),
        ([GOOD, GOOD], "twice"),
        ([GOOD, GOOD | {"name": "etcdctl", "link": "elsewhere"}], "elsewhere"),
        ("etcd", "not a release's manifest"),
    ],
)
def test_untrusted_manifest_is_rejected(programs, reports):
    text = json.dumps({"release": "x", "kubernetes": "v1", "programs": programs})
    with pytest.raises(Failed, match=reports):
        Manifest.parse(text, "http://mirror/manifest.json")


@pytest.mark.parametrize("text", ["", "<html>not found</html>", "[]", "null", '{"programs": []}'])
def test_invalid_manifest_names_origin(text):
    with pytest.raises(Failed, match=r"^http://mirror/manifest\.json is not a release's manifest"):
        Manifest.parse(text, "http://mirror/manifest.json")
