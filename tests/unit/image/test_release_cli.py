import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from moorage.cli.context import Context
from moorage.cli.main import cli
from moorage.config import Paths
from moorage.image.release import Entry, Manifest
from moorage.image.release.programs import CONTENTS
from moorage.image.release.recipes import go_sources, release_hash
from moorage.model.errors import BadInput, Failed, NotFound

pytestmark = pytest.mark.unit

SHA256_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def refuse(*_):
    raise AssertionError("nothing outside is asked")


@pytest.fixture
def context(tmp_path):
    return Context(replace(Paths.from_environment({}), cache=tmp_path), refuse, refuse)


@pytest.fixture
def directory(tmp_path):
    name = release_hash(CONTENTS, go_sources())
    folder = tmp_path / "release" / name
    (folder / "bin").mkdir(parents=True)
    for program in ("kubernetes", "etcd"):
        (folder / "bin" / program).write_text("x")
        (folder / "bin" / program).chmod(0o755)
    (folder / "bin" / "kubelet").symlink_to("kubernetes")
    entries = [Entry(one, "v1", f"example.org/{one}@v1", SHA256_OF_X, 1) for one in ("kubernetes", "etcd")]
    entries.append(replace(entries[0], name="kubelet", link="kubernetes"))
    (folder / "manifest.json").write_text(Manifest(name, "v1.37.2", tuple(entries)).text())
    return folder


def run(context, *words):
    return CliRunner().invoke(cli, ["release", *words], obj=context)


def test_show_lists_programs_and_their_sources(context, directory):
    shown = run(context, "show").output
    assert str(directory) in shown
    assert "v1.37.2" in shown
    assert "example.org/etcd@v1" in shown
    assert "SAME AS" in shown


def test_show_as_json_has_the_whole_manifest(context, directory):
    shown = json.loads(run(context, "show", "-o", "json").output)
    assert shown["release"] == directory.name
    assert shown["directory"] == str(directory)
    assert shown["programs"][0]["sha256"] == SHA256_OF_X


def test_verify_counts_intact_programs(context, directory):
    done = run(context, "verify")
    assert (done.exit_code, done.output) == (0, "all 3 programs match the manifest\n")


def test_verify_names_damaged_programs_and_fails(context, directory):
    (directory / "bin" / "etcd").write_text("y")
    done = run(context, "verify")
    assert "etcd   changed" in done.output
    assert isinstance(done.exception, Failed)
    done = run(context, "verify", "-o", "json")
    assert json.loads(done.stdout) == [{"name": "etcd", "problem": "changed"}]


@pytest.mark.parametrize("command", ["show", "verify"])
def test_missing_release_is_not_found_with_hint(context, command):
    error = run(context, command).exception
    assert isinstance(error, NotFound)
    assert error.hint == "moorage release build"


def test_build_prints_only_the_directory_when_present(context, directory):
    assert run(context, "build").stdout == f"{directory}\n"


def test_fetch_without_mirror_is_rejected(context):
    assert "--mirror" in run(context, "fetch").output
    assert isinstance(run(context, "fetch", "--mirror", "example.org").exception, BadInput)
