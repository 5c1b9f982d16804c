"""A finished release: its manifest, its files, and their verification."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moorage.image.release.programs import CONTENTS
from moorage.image.release.recipes import Kind, go_sources, release_hash
from moorage.model.errors import Failed, NotFound

PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")
FOLDERS: dict[Kind, str] = {"program": "bin", "data": "share"}


@dataclass(frozen=True)
class Entry:
    """One file: `size` in bytes; `link` names the file of which this is another name."""

    name: str
    version: str
    source: str
    sha256: str
    size: int
    input: str = ""
    link: str | None = None
    kind: Kind = "program"

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Entry:
        """Parse an entry from an untrusted source: names must be plain file names. ValueError."""
        entry = cls(**fields)
        for name in (entry.name, entry.name if entry.link is None else entry.link):
            if not PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the plain name of a file")
        if not SHA256.fullmatch(entry.sha256):
            raise ValueError(f"{entry.name}: {entry.sha256!r} is not a SHA-256")
        if isinstance(entry.size, bool) or not isinstance(entry.size, int) or entry.size < 0:
            raise ValueError(f"{entry.name}: {entry.size!r} is not a size")
        if entry.kind not in FOLDERS:
            raise ValueError(f"{entry.name}: {entry.kind!r} is not a kind of file")
        return entry

    def fields(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def path(self) -> str:
        """Its path in the release's directory."""
        return f"{FOLDERS[self.kind]}/{self.name}"

    @property
    def mode(self) -> int:
        return 0o755 if self.kind == "program" else 0o644


@dataclass(frozen=True)
class Manifest:
    """The files of a release. `release` is the hash of its inputs, `kubernetes` its version ("v1.37.2")."""

    release: str
    kubernetes: str
    programs: tuple[Entry, ...]

    @classmethod
    def parse(cls, text: str, origin: str) -> Manifest:
        """Read manifest.json; Failed, naming `origin`, when it is not a manifest."""
        try:
            fields = json.loads(text)
            entries = tuple(Entry.parse(entry) for entry in fields["programs"])
            manifest = cls(str(fields["release"]), str(fields["kubernetes"]), entries)
            _check_names(manifest)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Failed(f"{origin} is not a release's manifest: {error}") from error
        return manifest

    def text(self) -> str:
        fields = asdict(self) | {"programs": [entry.fields() for entry in self.programs]}
        return json.dumps(fields, indent=2) + "\n"

    @property
    def files(self) -> Iterator[Entry]:
        """The entries that are files, without links."""
        return (entry for entry in self.programs if entry.link is None)


def _check_names(manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.programs]
    files = {entry.name for entry in manifest.files}
    if len(set(names)) != len(names):
        raise ValueError("a file is named twice")
    if stray := {entry.link for entry in manifest.programs if entry.link} - files:
        raise ValueError(f"a link leads to {', '.join(map(str, stray))}, which does not exist")


@dataclass(frozen=True)
class Release:
    """A finished release directory."""

    directory: Path

    @property
    def manifest(self) -> Manifest:
        path = self.directory / "manifest.json"
        return Manifest.parse(path.read_text(), str(path))

    @property
    def hash(self) -> str:
        return self.directory.name

    @property
    def kubernetes_version(self) -> str:
        """The version of Kubernetes, as "v1.37.2"."""
        return self.manifest.kubernetes

    def program(self, name: str) -> Path:
        """The program's path (a symbolic link for another name); NotFound."""
        return self._file("program", name)

    def data(self, name: str) -> Path:
        """The path of a data file; NotFound."""
        return self._file("data", name)

    def _file(self, kind: Kind, name: str) -> Path:
        path = self.directory / FOLDERS[kind] / name
        if not path.exists():
            raise NotFound(f"the release {self.directory} has no {kind} {name}", "moorage release verify")
        return path


def find_release(cache: Path) -> Release:
    """The release of this version of Moorage; NotFound when it is not built yet."""
    wanted = cache / "release" / release_hash(CONTENTS, go_sources())
    if not (wanted / "manifest.json").is_file():
        raise NotFound(f"the release {wanted.name} is not in {wanted.parent}", "moorage release build")
    return Release(wanted)


@dataclass(frozen=True)
class Finding:
    """A file that differs from the manifest: `problem` is missing, changed or unexpected."""

    name: str
    problem: str


def verify(release: Release) -> list[Finding]:
    """Compare every file with the manifest, by size and SHA-256; an empty list is an intact release."""
    known = {release.directory / entry.path: entry for entry in release.manifest.programs}
    there = {*_files(release.directory), *release.directory.iterdir()}
    ours = {release.directory / name for name in (*FOLDERS.values(), "manifest.json")}
    findings = [Finding(path.name, "unexpected") for path in there - ours - known.keys()]
    for path, entry in known.items():
        if path not in there:
            findings.append(Finding(entry.name, "missing"))
        elif not matches(path, entry):
            findings.append(Finding(entry.name, "changed"))
    return sorted(findings, key=lambda finding: (finding.name, finding.problem))


def complete(manifest: Manifest, directory: Path) -> None:
    """Turn a directory with all files into a release: delete other files, add links and manifest."""
    files = {directory / entry.path for entry in manifest.files}
    for path in _files(directory):
        if path.is_symlink() or path not in files:
            path.unlink()
    for entry in manifest.programs:
        if entry.link:
            (directory / entry.path).symlink_to(entry.link)
    (directory / "manifest.json").write_text(manifest.text())


def _files(directory: Path) -> list[Path]:
    return [path for folder in FOLDERS.values() for path in (directory / folder).glob("*")]


def matches(path: Path, entry: Entry) -> bool:
    """Whether the file or link at `path` matches the manifest's entry."""
    if entry.link is not None:
        return path.is_symlink() and str(path.readlink()) == entry.link
    if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.size:
        return False
    return path.stat().st_mode & 0o111 == entry.mode & 0o111 and sha256(path) == entry.sha256


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
