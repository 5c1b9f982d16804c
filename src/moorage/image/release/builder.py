"""Build the release directory, one file after another; built files are kept when a later one fails."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moorage.image.release.directory import Entry, Manifest, Release, complete, matches, sha256
from moorage.image.release.go import Go, check_c, find_go
from moorage.image.release.lock import exclusive
from moorage.image.release.programs import CONTENTS, KUBERNETES
from moorage.image.release.recipes import Program, Recipe, go_sources, release_hash
from moorage.model.errors import Failed

DISK_NEEDED = 15 * 10**9
"""Bytes that a build from nothing uses at its peak: Go's modules 4.8, its objects 8.5, the programs 0.7."""


def build(
    cache: Path,
    *,
    report: Callable[[str], None],
    contents: Sequence[Recipe] = CONTENTS,
    sources: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    keep_go_cache: bool = False,
) -> Release:
    """Return the release; build what is missing.

    `report` gets one line when each file's build begins. Files of an interrupted build, and of other releases with the
    same inputs, are reused. Go's caches are deleted at the end unless `keep_go_cache`. Failed: no Go or an old one, a
    missing C library, too little disk space, a failed build.
    """
    sources = sources or go_sources()
    store = cache / "release"
    wanted = Release(store / release_hash(contents, sources))
    if (wanted.directory / "manifest.json").is_file():
        return wanted
    with exclusive(store, report):
        if not (wanted.directory / "manifest.json").is_file():
            workspace = _Workspace(store, cache / "go", sources, environment)
            entries = _collect(workspace, contents, report)
            workspace.finish(Manifest(wanted.hash, KUBERNETES, entries), wanted.directory)
        if not keep_go_cache:
            shutil.rmtree(cache / "go", ignore_errors=True)
    return wanted


def _collect(workspace: _Workspace, contents: Sequence[Recipe], report: Callable[[str], None]) -> tuple[Entry, ...]:
    """Provide every file: reuse it where its inputs are unchanged, else build it."""
    entries = {recipe.name: workspace.reused(recipe) for recipe in contents}
    missing = [recipe for recipe in contents if entries[recipe.name] is None]
    if missing:
        go = workspace.ready(missing)
        for number, recipe in enumerate(missing, 1):
            report(f"building {number}/{len(missing)} {recipe.name} {recipe.version}")
            entries[recipe.name] = workspace.make(recipe, go)
    return tuple(named for recipe in contents for named in _with_links(recipe, entries[recipe.name]))


def _with_links(recipe: Recipe, entry: Entry | None) -> list[Entry]:
    assert entry is not None
    return [entry, *(replace(entry, name=link, link=recipe.name) for link in recipe.links)]


@dataclass(frozen=True)
class _Workspace:
    """The folder in which a release is built, with a record in finished/ for each file."""

    store: Path
    go_folder: Path
    sources: Path
    environment: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.store / "building"

    @property
    def notes(self) -> Path:
        return self.folder / "finished"

    def ready(self, missing: Sequence[Recipe]) -> Go:
        """Check everything that would fail later; returns the Go to build with."""
        go = find_go(self.go_folder, self.environment)
        if any(isinstance(recipe, Program) and recipe.static_c for recipe in missing):
            check_c(self.environment)
        free = shutil.disk_usage(self.store).free
        if not self.go_folder.exists() and free < DISK_NEEDED and len(missing) > 1:
            raise Failed(
                f"{self.store} has {free / 1e9:.1f} GB of free space; a build needs {DISK_NEEDED / 1e9:.0f} GB",
                "free some disk space, or set MOORAGE_CACHE to a larger disk",
            )
        return go

    def make(self, recipe: Recipe, go: Go) -> Entry:
        """Build the file, move it to its place and record that it is finished."""
        made = go.make(recipe, self.sources)
        entry = Entry(
            recipe.name,
            recipe.version,
            recipe.source,
            sha256(made),
            made.stat().st_size,
            input=recipe.input_hash(self.sources),
            kind=recipe.kind,
        )
        made.chmod(entry.mode)
        (self.folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        made.replace(self.folder / entry.path)
        self._note(entry)
        return entry

    def reused(self, recipe: Recipe) -> Entry | None:
        """Find an intact file from the same inputs, here or in another release."""
        wanted = recipe.input_hash(self.sources)
        for entry, path in self._finished():
            if entry.input == wanted and entry.name == recipe.name and matches(path, entry):
                self._reuse(path, self.folder / entry.path)
                return entry
        return None

    def _finished(self) -> Iterator[tuple[Entry, Path]]:
        for note in sorted(self.notes.glob("*.json")):
            entry = Entry.parse(json.loads(note.read_text()))
            yield entry, self.folder / entry.path
        for path in sorted(self.store.glob("*/manifest.json")):
            for entry in Manifest.parse(path.read_text(), str(path)).files:
                yield entry, path.parent / entry.path

    def _reuse(self, path: Path, here: Path) -> None:
        if path != here:
            here.parent.mkdir(parents=True, exist_ok=True)
            here.unlink(missing_ok=True)
            os.link(path, here)

    def _note(self, entry: Entry) -> None:
        """Written under another name and renamed, so that a record is complete or missing."""
        self.notes.mkdir(exist_ok=True)
        aside = self.notes / f"{entry.name}.new"
        aside.write_text(json.dumps(entry.fields()))
        aside.replace(self.notes / f"{entry.name}.json")

    def finish(self, manifest: Manifest, directory: Path) -> None:
        """Rename the release directory when it is complete."""
        complete(manifest, self.folder)
        for path in (*(self.folder / entry.path for entry in manifest.files), self.folder / "manifest.json"):
            _to_disk(path)
        shutil.rmtree(self.notes, ignore_errors=True)
        self.folder.replace(directory)


def _to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
