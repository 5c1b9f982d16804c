"""Download a release from a mirror: an HTTP server with a release directory's files below one address."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from moorage.image.release.directory import Entry, Manifest, Release, complete, matches
from moorage.image.release.lock import exclusive
from moorage.image.release.programs import CONTENTS
from moorage.image.release.recipes import go_sources, release_hash
from moorage.model.errors import BadInput, Failed

TIMEOUT = 60
"""Seconds without a byte after which a mirror counts as unreachable."""
MANIFEST_LIMIT = 1 << 20
CHUNK = 1 << 20


def fetch(cache: Path, mirror: str, *, report: Callable[[str], None], wanted: str | None = None) -> Release:
    """Return the release `wanted` (by default this version's own); download what is missing.

    Every file's size and SHA-256 are checked with the mirror's manifest; the release appears only after all are right.
    An interrupted download resumes, if the mirror supports ranges. BadInput for an invalid address, Failed for a mirror
    that is unreachable, has another release, or serves a file that does not match its manifest.
    """
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise BadInput(f"--mirror {mirror!r} is not the address of an HTTP server", "http://HOST[:PORT]/PATH")
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
            _file(f"{mirror}/{entry.path}", entry, folder / entry.path)
        except _Mismatch as wrong:
            shutil.rmtree(folder)
            message = f"{mirror}/{entry.path} {wrong}: nothing of this release was kept"
            raise Failed(message, "another mirror, or moorage release build") from wrong
    complete(manifest, folder)


def _manifest(mirror: str, wanted: str) -> Manifest:
    address = f"{mirror}/manifest.json"
    with _open(address, 0) as answer:
        manifest = Manifest.parse(answer.read(MANIFEST_LIMIT).decode(errors="replace"), address)
    if manifest.release != wanted:
        hint = "a mirror of this version of Moorage, or moorage release build"
        raise Failed(f"{address} is release {manifest.release}, and this version needs {wanted}", hint)
    return manifest


class _Mismatch(Exception):
    """The mirror's file does not match its manifest."""


def _file(address: str, entry: Entry, path: Path) -> None:
    if matches(path, entry):
        return
    part = path.with_name(f"{entry.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    _fill(address, entry, part)
    part.chmod(entry.mode)
    if not matches(part, entry):
        raise _Mismatch("does not have the SHA-256 of its manifest")
    part.replace(path)


def _fill(address: str, entry: Entry, part: Path) -> None:
    """Append what `part` lacks; start again when the mirror sends the whole file instead of the rest."""
    have = part.stat().st_size if part.exists() else 0
    if have == entry.size and have:
        return
    with _open(address, have if have < entry.size else 0) as answer:
        _copy(answer, address, entry.size, part, "ab" if answer.status == 206 else "wb")


def _copy(answer: HTTPResponse, address: str, size: int, part: Path, mode: Literal["ab", "wb"]) -> None:
    with part.open(mode) as stream:
        while chunk := _read(address, answer):
            stream.write(chunk)
            if stream.tell() > size:
                raise _Mismatch("is larger than its manifest says")
        if stream.tell() < size:
            raise Failed(f"{address} ended after {stream.tell()} of {size} bytes", "run it again to resume")


def _open(address: str, start: int) -> HTTPResponse:
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise Failed(f"{address} answered {error.code} {error.reason}", "check the mirror's address") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Failed(f"{address} cannot be reached: {reason}", "check the mirror's address") from error
    assert isinstance(answer, HTTPResponse)
    return answer


def _read(address: str, answer: HTTPResponse) -> bytes:
    try:
        return answer.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise Failed(f"{address} was interrupted: {error}", "run it again to resume") from error
