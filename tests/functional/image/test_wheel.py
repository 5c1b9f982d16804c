"""The wheel has what `moorage demo up` needs without a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional
ROOT = Path(__file__).parents[3]
LIST = """
from moorage.catalog import database, hello
from moorage.image.release.recipes import go_sources
print(hello.MANIFEST, database.MANIFEST, go_sources() / "README.md")
print(database.FOLDER / "root/usr/local/bin/run-postgres")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["uv", "build", "-q", "--offline", "--no-build-isolation", "--wheel", f"--out-dir={folder}"]
    subprocess.run([*build, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        ["uv", "pip", "install", "-q", "--offline", "--no-deps", f"--target={folder / 'site'}", wheel], check=True
    )
    return folder / "site"


def test_wheel_has_applications_and_go_modules(installed):
    done = subprocess.run(
        [sys.executable, "-c", LIST],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [Path(name) for name in done.stdout.split()]
    assert len(files) == 4
    for file in files:
        assert file.is_file()
        assert file.is_relative_to(installed)
    assert os.access(files[3], os.X_OK)
