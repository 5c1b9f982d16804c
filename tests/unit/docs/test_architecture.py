import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
SOURCES = ROOT / "src" / "moorage"

pytestmark = pytest.mark.unit


def test_architecture_names_only_files_that_exist():
    names = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|yaml))`", TEXT))
    assert len(names) > 40
    assert {name for name in names if not list(SOURCES.rglob(name))} == set()


def test_architecture_names_every_folder():
    folders = {path.parent.relative_to(SOURCES).parts[0] for path in SOURCES.glob("*/__init__.py")}
    assert {name for name in folders if f"`{name}/`" not in TEXT} == set()


def test_architecture_names_only_folders_that_exist():
    names = set(re.findall(r"`((?:\w+/)+)`", TEXT)) - {"kubernetes/", "examples/", "src/"}
    assert {name for name in names if not (SOURCES / name).is_dir() and not list(SOURCES.rglob(name))} == set()
