"""The Python libraries of a node: those of the extra `node`, in the versions that this machine tested with.

Debian's packages are used where they exist; the others are wheels for Debian's Python.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from moorage.image.run import run
from moorage.model.errors import Failed

PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_28"
"""Of the image's Debian."""
MARKERS = {"python_version": PYTHON, "sys_platform": "linux", "platform_system": "Linux"}
EXTRA = "node"
DEBIANS = frozenset(("cryptography", "pyyaml"))
"""Debian packages of the image (packages.txt)."""


def requirements() -> list[str]:
    """Every library with its version, as in "click==8.1.7", from the requirements of the extra."""
    found: dict[str, str] = {}
    wanted = [Requirement(text) for text in metadata.requires("moorage") or ()]
    _add([each for each in wanted if each.marker and each.marker.evaluate({**MARKERS, "extra": EXTRA})], found)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _add(wanted: list[Requirement], found: dict[str, str]) -> None:
    for each in wanted:
        name = canonicalize_name(each.name)
        if name in DEBIANS or name in found:
            continue
        installed = metadata.distribution(name)
        found[name] = installed.version
        _add([one for text in installed.requires or () if _applies(one := Requirement(text), each.extras)], found)


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**MARKERS, "extra": extra}) for extra in extras or {""})


def libraries(folder: Path, report: Callable[[str], None]) -> Path:
    """The libraries in a folder, cached by the hash of their versions. Needs `uv` and a package index."""
    wanted = requirements()
    kept = folder / f"python-{hashlib.sha256(repr((PYTHON, PLATFORM, wanted)).encode()).hexdigest()[:12]}"
    if kept.exists():
        return kept
    uv = shutil.which("uv")
    if uv is None:
        raise Failed("building a node image needs uv, which installs its Python libraries", "pip install uv")
    report("node image: installing Python libraries")
    partial = folder / f"{kept.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    where: list[str | Path] = ["--target", partial, "--python-version", PYTHON, "--python-platform", PLATFORM]
    run([uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", *where, *wanted])
    partial.rename(kept)
    return kept


def install(libraries: Path, into: Path) -> None:
    """Copy the libraries, without their programs."""
    shutil.copytree(libraries, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns("bin", "*.pyi", ".lock"))
