"""Build the release directory, one program after another; what is built is kept when the rest fails."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moorage.image.release.directory import Entry, Manifest, Release, is_as_said, sha256
from moorage.image.release.go import Go, check_c, find_go
from moorage.image.release.lock import alone
from moorage.image.release.programs import KUBERNETES, PROGRAMS, Program, go_sources, release_hash
from moorage.model.errors import Failed

DISK_NEEDED = 13 * 10**9
"""Bytes that a build from nothing takes at its peak: Go's modules 4.3, its objects 6.7, the programs 0.5."""


def build(
    cache: Path,
    *,
    report: Callable[[str], None],
    programs: Sequence[Program] = PROGRAMS,
    sources: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    keep_go_cache: bool = False,
) -> Release:
    """Return the release, building what is not there yet.

    `report` hears one line when each program's build begins. Programs built by an interrupted build, and
    those of other releases whose inputs are the same, are taken over. Go's caches are dropped at the end unless
    `keep_go_cache`. Raises Failed: no Go or an old one, a missing C library, too little disk, a failed build.
    """
    sources = sources or go_sources()
    shelf = cache / "release"
    wanted = Release(shelf / release_hash(programs, sources))
    if (wanted.directory / "manifest.json").is_file():
        return wanted
    with alone(shelf, report):
        if not (wanted.directory / "manifest.json").is_file():
            bench = _Bench(shelf, cache / "go", sources, environment)
            entries = _collect(bench, programs, report)
            bench.finish(Manifest(wanted.hash, KUBERNETES, entries), wanted.directory)
        if not keep_go_cache:
            shutil.rmtree(cache / "go", ignore_errors=True)
    return wanted


def _collect(bench: _Bench, programs: Sequence[Program], report: Callable[[str], None]) -> tuple[Entry, ...]:
    """Have every program in the bench's bin/: taken over where its inputs are unchanged, built where not."""
    entries = {program.name: bench.taken_over(program) for program in programs}
    missing = [program for program in programs if entries[program.name] is None]
    if missing:
        go = bench.ready(missing)
        for number, program in enumerate(missing, 1):
            report(f"building {number}/{len(missing)} {program.name} {program.version}")
            entries[program.name] = bench.make(program, go)
    return tuple(named for program in programs for named in _with_links(program, entries[program.name]))


def _with_links(program: Program, entry: Entry | None) -> list[Entry]:
    assert entry is not None
    return [entry, *(replace(entry, name=link, link=program.name) for link in program.links)]


@dataclass(frozen=True)
class _Bench:
    """The folder in which a release is put together: bin/, and a note in finished/ for each program in it."""

    shelf: Path
    go_folder: Path
    sources: Path
    environment: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return self.shelf / "building"

    @property
    def notes(self) -> Path:
        return self.folder / "finished"

    def ready(self, programs: Sequence[Program]) -> Go:
        """Check everything that would fail later; return the Go to build with."""
        go = find_go(self.go_folder, self.environment)
        if any(program.static_c for program in programs):
            check_c(self.environment)
        free = shutil.disk_usage(self.shelf).free
        if not self.go_folder.exists() and free < DISK_NEEDED and len(programs) > 1:
            raise Failed(
                f"{self.shelf} has {free / 1e9:.1f} GB left; a build takes {DISK_NEEDED / 1e9:.0f} GB",
                "free some disk, or point MOORAGE_CACHE at a larger one",
            )
        return go

    def make(self, program: Program, go: Go) -> Entry:
        """Build the program into bin/ and write down that it is finished."""
        (self.folder / "bin").mkdir(parents=True, exist_ok=True)
        made = self.folder / "bin" / program.name
        go.build(program, self.sources, made)
        made.chmod(0o755)
        entry = Entry(
            program.name,
            program.version,
            program.source,
            sha256(made),
            made.stat().st_size,
            input=program.input_hash(self.sources),
        )
        self._note(entry)
        return entry

    def taken_over(self, program: Program) -> Entry | None:
        """Find the program already built from the same inputs, here or in another release, and unharmed."""
        wanted = program.input_hash(self.sources)
        for entry, path in self._finished():
            if entry.input == wanted and entry.name == program.name and is_as_said(path, entry):
                self._adopt(path)
                return entry
        return None

    def _finished(self) -> Iterator[tuple[Entry, Path]]:
        for note in sorted(self.notes.glob("*.json")):
            yield Entry.parse(json.loads(note.read_text())), self.folder / "bin" / note.stem
        for path in sorted(self.shelf.glob("*/manifest.json")):
            for entry in Manifest.parse(path.read_text(), str(path)).files:
                yield entry, path.parent / "bin" / entry.name

    def _adopt(self, path: Path) -> None:
        here = self.folder / "bin" / path.name
        if path != here:
            here.parent.mkdir(parents=True, exist_ok=True)
            here.unlink(missing_ok=True)
            os.link(path, here)

    def _note(self, entry: Entry) -> None:
        """Written aside and renamed, so that a note is whole or not there."""
        self.notes.mkdir(exist_ok=True)
        aside = self.notes / f"{entry.name}.new"
        aside.write_text(json.dumps(entry.fields()))
        aside.replace(self.notes / f"{entry.name}.json")

    def finish(self, manifest: Manifest, directory: Path) -> None:
        """Make the release directory appear at once, whole."""
        files = {entry.name for entry in manifest.files}
        for path in (self.folder / "bin").iterdir():
            if path.is_symlink() or path.name not in files:
                path.unlink()
        for entry in manifest.programs:
            if entry.link:
                (self.folder / "bin" / entry.name).symlink_to(entry.link)
        (self.folder / "manifest.json").write_text(manifest.text())
        for path in (*(self.folder / "bin" / name for name in files), self.folder / "manifest.json"):
            _to_disk(path)
        shutil.rmtree(self.notes, ignore_errors=True)
        self.folder.replace(directory)


def _to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
