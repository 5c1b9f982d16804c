import re
from dataclasses import replace

import pytest

from moorage.image.release.programs import CONTENTS, GO_NEEDED, PROGRAMS
from moorage.image.release.recipes import Data, Pinned, Program, go_sources, release_hash

pytestmark = pytest.mark.unit

PINNED = [recipe for recipe in CONTENTS if recipe.folder]
SIDECARS = [program for program in PROGRAMS if isinstance(program, Pinned)]


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def test_names_are_unique():
    names = [name for program in PROGRAMS for name in (program.name, *program.links)]
    assert len(names) == len(set(names))


def test_contents_include_what_nodes_need():
    names = {name for program in PROGRAMS for name in (program.name, *program.links)}
    assert names >= {"kube-apiserver", "kubelet", "kube-proxy", "kubectl", "etcd", "etcdctl", "containerd", "runc"}
    assert names >= {"containerd-shim-runc-v2", "ctr", "bridge", "host-local", "loopback", "portmap"}
    assert names >= {"coredns", "flanneld", "registry", "pause"}
    assert names >= {"csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter", "snapshot-controller"}


@pytest.mark.parametrize("recipe", PINNED, ids=lambda recipe: recipe.name)
def test_modules_pin_the_tables_versions(recipe):
    text = (go_sources() / recipe.folder / "go.mod").read_text()
    if recipe.package:
        module = recipe.package.split("/cmd/")[0]
        assert re.search(rf"[\t ]{re.escape(module)} {re.escape(recipe.version)}\n", text)


@pytest.mark.parametrize("recipe", PINNED, ids=lambda recipe: recipe.name)
def test_modules_require_the_tables_go(recipe):
    wanted = re.search(r"^go (\S+)$", (go_sources() / recipe.folder / "go.mod").read_text(), re.MULTILINE)[1]
    assert numbers(wanted) <= numbers(GO_NEEDED)


def test_sidecars_module_lists_its_programs():
    text = (go_sources() / "csi" / "tools.go").read_text()
    assert set(re.findall(r'_ "(\S+/cmd/\S+)"', text)) == {program.package for program in SIDECARS}
    assert all(dict(program.variables) == {"main.version": program.version} for program in SIDECARS)


def test_source_names_module_and_folder():
    assert Program("a", "v1", package="example.org/a").source == "example.org/a@v1"
    assert Program("a", "v1", package="example.org/a", folder="a").source == "example.org/a@v1 kubernetes/a"
    assert Program("a", "v1", folder="a").source == "kubernetes/a"


def test_program_installs_and_installed():
    exclusive = Program("a", "v1", package="example.org/cmd/a")
    assert (exclusive.installs, exclusive.installed) == ("example.org/cmd/a@v1", "a")
    own = Program("a", "v1", package="example.org/a", folder="b")
    assert (own.installs, own.installed) == (".", "b")
    pinned = Pinned("a", "v1", package="example.org/cmd/c", folder="b")
    assert (pinned.installs, pinned.installed) == ("example.org/cmd/c", "c")


def test_recipe_hash_is_stable():
    """Releases keep what another one made from the same recipe: another way to name it would build all again."""
    assert Program("a", "v1", package="example.org/a").input_hash(go_sources()) == "bb6724487d879bba"


def test_linker_flags():
    program = Program("a", "v1", variables=(("m.version", "v1"), ("m.commit", "")))
    assert program.ldflags == "-s -w -X m.version=v1 -X m.commit="
    assert replace(program, variables=(), static_c=True).ldflags == "-s -w -extldflags -static"


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    for name in ("go.mod", "go.sum", "main.go", "inner/x.go", "main_test.go", "notes.md"):
        (tmp_path / "a" / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "matters"),
    [("go.mod", True), ("go.sum", True), ("main.go", True), ("inner/x.go", True), ("main_test.go", False)],
)
def test_release_hash_covers_sources(sources, file, matters):
    programs = [Program("a", "v1", folder="a"), Program("b", "v1", package="example.org/b")]
    before = release_hash(programs, sources)
    assert re.fullmatch("[0-9a-f]{16}", before)
    (sources / "a" / file).write_text("something else")
    assert (release_hash(programs, sources) != before) is matters


def test_release_hash_ignores_order(sources):
    a, b = Program("a", "v1", folder="a"), Program("b", "v1", package="example.org/b")
    before = release_hash([a, b], sources)
    assert release_hash([b, a], sources) == before
    assert release_hash([a, replace(b, version="v2")], sources) != before
    assert release_hash([a, replace(b, tags="x")], sources) != before
    assert release_hash([a, b, Data("c.yaml", "v1", files=("c",))], sources) != before
    assert release_hash([a], sources) != before
