import re
from dataclasses import replace

import pytest

from moorage.image.release.programs import GO_NEEDED, PROGRAMS, Program, go_sources, release_hash

pytestmark = pytest.mark.unit

OURS = [program for program in PROGRAMS if program.folder]


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def test_every_name_is_taken_once():
    names = [name for program in PROGRAMS for name in (program.name, *program.links)]
    assert len(names) == len(set(names))


def test_a_node_finds_what_it_needs():
    names = {name for program in PROGRAMS for name in (program.name, *program.links)}
    assert names >= {"kube-apiserver", "kubelet", "kube-proxy", "kubectl", "etcd", "etcdctl", "containerd", "runc"}
    assert names >= {"containerd-shim-runc-v2", "ctr", "bridge", "host-local", "loopback", "portmap"}
    assert names >= {"coredns", "flanneld", "registry", "pause"}


@pytest.mark.parametrize("program", OURS, ids=lambda program: program.name)
def test_our_mains_pin_the_version_that_the_table_says(program):
    text = (go_sources() / program.folder / "go.mod").read_text()
    if program.package:
        assert re.search(rf"{re.escape(program.package)} {re.escape(program.version)}\n", text)


@pytest.mark.parametrize("program", OURS, ids=lambda program: program.name)
def test_our_mains_build_with_the_go_that_is_asked_for(program):
    wanted = re.search(r"^go (\S+)$", (go_sources() / program.folder / "go.mod").read_text(), re.MULTILINE)[1]
    assert numbers(wanted) <= numbers(GO_NEEDED)


def test_a_source_says_module_and_folder():
    assert Program("a", "v1", package="example.org/a").source == "example.org/a@v1"
    assert Program("a", "v1", package="example.org/a", folder="a").source == "example.org/a@v1 kubernetes/a"
    assert Program("a", "v1", folder="a").source == "kubernetes/a"


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
def test_a_release_is_named_by_the_sources_that_are_built(sources, file, matters):
    programs = [Program("a", "v1", folder="a"), Program("b", "v1", package="example.org/b")]
    before = release_hash(programs, sources)
    assert re.fullmatch("[0-9a-f]{16}", before)
    (sources / "a" / file).write_text("something else")
    assert (release_hash(programs, sources) != before) is matters


def test_a_release_is_named_by_its_recipe_but_not_by_the_order_of_programs(sources):
    a, b = Program("a", "v1", folder="a"), Program("b", "v1", package="example.org/b")
    before = release_hash([a, b], sources)
    assert release_hash([b, a], sources) == before
    assert release_hash([a, replace(b, version="v2")], sources) != before
    assert release_hash([a, replace(b, tags="x")], sources) != before
    assert release_hash([a], sources) != before
