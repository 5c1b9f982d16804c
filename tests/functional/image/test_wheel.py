"""The wheel has what `moorage demo up`, and clusters on any cloud, need without a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moorage.config import Paths
from moorage.image.disk.build import build_disk
from moorage.image.disk.kernel import Hardware
from moorage.image.node_image import find_image

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


def run(installed, *command):
    """Run Python with the installed wheel, outside of the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=installed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_has_applications_and_go_modules(installed):
    files = [Path(name) for name in run(installed, "-c", LIST).split()]
    assert len(files) == 4
    for file in files:
        assert file.is_file()
        assert file.is_relative_to(installed)
    assert os.access(files[3], os.X_OK)


def test_wheel_builds_the_images_of_the_checkout(installed):
    """The version is a hash of all inputs, so a file that the wheel lacks gives another one."""
    cache = Paths.from_environment(os.environ).cache
    expected = find_image(cache)
    for target in ("container", "server"):
        built = run(installed, "-m", "moorage.bootstrap", "image", "build", "--for", target, "--output", "json")
        assert json.loads(built)["version"] == expected.version
    assert Path(json.loads(built)["file"]) == build_disk(cache, expected, Hardware.SERVER, print).file


def test_wheel_has_the_templates_of_clusters(installed):
    checkout, wheel = (Path(root, "moorage/clusters/templates") for root in (ROOT / "src", installed))
    templates = {path.name: path.read_text() for path in checkout.glob("*.yaml")}
    assert {path.name: path.read_text() for path in wheel.glob("*.yaml")} == templates != {}
