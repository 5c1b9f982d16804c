"""Download a release from a mirror: an HTTP server with a release directory's files below one address."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from moorage.image import download
from moorage.image.release.directory import Manifest, Release, complete
from moorage.image.release.lock import exclusive
from moorage.image.release.programs import CONTENTS
from moorage.image.release.recipes import go_sources, release_hash
from moorage.model.errors import Failed

MANIFEST_LIMIT = 1 << 20


def fetch(cache: Path, mirror: str, *, report: Callable[[str], None], wanted: str | None = None) -> Release:
    """Return the release `wanted` (by default this version's own); download what is missing.

    Every file's size and SHA-256 are checked with the mirror's manifest; the release appears only after all are right.
    An interrupted download resumes, if the mirror supports ranges. BadInput for an invalid address, Failed for a mirror
    that is unreachable, has another release, or serves a file that does not match its manifest.
    """
    download.check_address("--mirror", mirror)
    wanted = wanted or release_hash(CONTENTS, go_sources())
    store, directory = cache / "release", cache / "release" / wanted
    with exclusive(store, report):
        if not (directory / "manifest.json").is_file():
            _download(mirror.rstrip("/"), wanted, store / f"{wanted}.fetching", report)
            (store / f"{wanted}.fetching").replace(directory)
    return Release(directory)


def _download(mirror: str, wanted: str, folder: Path, report: Callable[[str], None]) -> None:
    manifest = _manifest(mirror, wanted)
    files = list(manifest.files)
    for number, entry in enumerate(files, 1):
        report(f"fetching {number}/{len(files)} {entry.name} {entry.version} ({entry.size / 1e6:.0f} MB)")
        try:
            download.fetch(f"{mirror}/{entry.path}", entry.size, entry.sha256, folder / entry.path)
            (folder / entry.path).chmod(entry.mode)
        except download.Mismatch as wrong:
            shutil.rmtree(folder)
            message = f"{mirror}/{entry.path} {wrong}: nothing of this release was kept"
            raise Failed(message, "another mirror, or moorage release build") from wrong
    complete(manifest, folder)


def _manifest(mirror: str, wanted: str) -> Manifest:
    address = f"{mirror}/manifest.json"
    manifest = Manifest.parse(download.read(address, MANIFEST_LIMIT), address)
    if manifest.release != wanted:
        hint = "a mirror of this version of Moorage, or moorage release build"
        raise Failed(f"{address} is release {manifest.release}, and this version needs {wanted}", hint)
    return manifest
