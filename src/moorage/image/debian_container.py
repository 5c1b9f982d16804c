"""Container images from Debian packages: extracted, not installed, with only the files that a recipe keeps.

A recipe is a folder: `image.yaml`, and `root/` with files that replace or extend Debian's. The image is an OCI layout
in the cache, compressed when it is built, so that a push only copies it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from moorage.image.containers import ContainerImage, File, Link, tree, write_archive
from moorage.image.debian import SUITE
from moorage.image.run import run
from moorage.model.errors import BadInput

COMPRESSION = ("--dest-compress-format", "zstd", "--dest-compress-level", "9")
RECORD = (
    'for deb in "$1"/var/cache/apt/archives/*.deb; do'
    ' name=$(dpkg-deb --field "$deb" Package);'
    ' mkdir -p "$1/var/lib/dpkg/status.d"; dpkg-deb --field "$deb" > "$1/var/lib/dpkg/status.d/$name"; done'
)
"""The list of extracted packages, where scanners look for it; dpkg itself records only what it installs."""


@dataclass(frozen=True)
class Recipe:
    """An image's inputs and command. A pattern's `*` stands for any part of a path, slashes included.

    Of the files of `packages` and all their dependencies, the image keeps those that match one of `kept` and none of
    `left_out`. `hash` covers everything that determines the image, except for Debian's updates.
    """

    folder: Path
    hash: str
    name: str
    packages: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    stop_signal: str

    def layout(self, cache: Path) -> Path:
        """The path of the built image."""
        return cache / "example" / f"{self.name.rpartition('/')[2].replace(':', '-')}-{self.hash}"


def read(folder: Path) -> Recipe:
    """Read a recipe; BadInput when a field is missing or unknown."""
    file = folder / "image.yaml"
    fields = yaml.safe_load(file.read_text())
    try:
        lists: dict[str, Any] = {key: tuple(fields.pop(key)) for key in ("packages", "kept", "left_out", "command")}
        return Recipe(folder, _hash(folder), **lists, **fields)
    except TypeError as error:
        raise BadInput(f"{file} is not a recipe: {error}") from error
    except KeyError as error:
        raise BadInput(f"{file} has no {error.args[0]}") from error


def _hash(folder: Path) -> str:
    digest = hashlib.sha256(repr((SUITE, COMPRESSION)).encode())
    digest.update((folder / "image.yaml").read_bytes())
    for entry in _own(folder):
        what = (entry.mode, entry.source.read_bytes()) if isinstance(entry, File) else entry.target
        digest.update(repr((entry.path, what)).encode())
    return digest.hexdigest()[:12]


def built(recipe: Recipe, cache: Path) -> bool:
    """Whether the image is built."""
    return (recipe.layout(cache) / "index.json").exists()


def build(recipe: Recipe, cache: Path, report: Callable[[str], None]) -> Path:
    """Build the image, if missing; returns its OCI layout. Needs Debian's archive."""
    layout = recipe.layout(cache)
    if built(recipe, cache):
        return layout
    report(f"building the container image {recipe.name}")
    layout.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.parent, prefix="building-") as scratch:
        made = _pack(recipe, _extract(recipe, Path(scratch) / "root"), Path(scratch))
        shutil.rmtree(layout, ignore_errors=True)
        made.rename(layout)
    return layout


def reference(recipe: Recipe, cache: Path) -> str:
    """The built image in skopeo's notation."""
    return f"oci:{recipe.layout(cache)}:{recipe.name.rpartition(':')[2]}"


def _extract(recipe: Recipe, root: Path) -> Path:
    packages = f"--include={','.join(recipe.packages)}"
    run(["mmdebstrap", "--quiet", "--variant=extract", packages, f"--extract-hook={RECORD}", SUITE, root])
    return root


def _pack(recipe: Recipe, root: Path, scratch: Path) -> Path:
    """Debian's files and our own as one compressed layer."""
    archive, layout = scratch / "image.tar", scratch / "layout"
    image = ContainerImage(
        recipe.name,
        entries(recipe, tree(root)),
        recipe.command,
        recipe.environment,
        recipe.user,
        recipe.stop_signal,
    )
    write_archive(image, archive)
    target = f"oci:{layout}:{recipe.name.rpartition(':')[2]}"
    run(["skopeo", "--insecure-policy", "copy", "--quiet", *COMPRESSION, f"docker-archive:{archive}", target])
    return layout


def entries(recipe: Recipe, debian: tuple[File | Link, ...]) -> tuple[File | Link, ...]:
    """The image's files: those kept of Debian's, and the recipe's own, which replace them."""
    own = {entry.path: entry for entry in _own(recipe.folder)}
    return (*(entry for entry in debian if _wanted(recipe, entry.path) and entry.path not in own), *own.values())


def _wanted(recipe: Recipe, path: str) -> bool:
    kept = any(fnmatchcase(path, pattern) for pattern in recipe.kept)
    return kept and not any(fnmatchcase(path, pattern) for pattern in recipe.left_out)


def _own(folder: Path) -> tuple[File | Link, ...]:
    """The recipe's own files, readable by all, whatever the umask was at their checkout."""
    return tuple(
        replace(entry, mode=0o755 if entry.mode & 0o100 else 0o644) if isinstance(entry, File) else entry
        for entry in tree(folder / "root")
    )
