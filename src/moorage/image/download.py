"""Download a file of known size and hash by HTTP; resume what was interrupted."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from hashlib import file_digest
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from moorage.model.errors import BadInput, Failed

TIMEOUT = 60
"""Seconds without a byte after which a server counts as unreachable."""
CHUNK = 1 << 20


class Mismatch(Exception):
    """The server's file is not the one that is expected."""


def check_address(option: str, address: str) -> None:
    """BadInput unless it is the address of an HTTP server."""
    if urlsplit(address).scheme not in ("http", "https"):
        raise BadInput(f"{option} {address!r} is not the address of an HTTP server", "http://HOST[:PORT]/PATH")


def read(address: str, limit: int) -> str:
    """The text at an address, `limit` bytes of it at most; Failed."""
    with _open(address, 0) as answer:
        return _read(address, answer, limit).decode(errors="replace")


def fetch(address: str, size: int, sha256: str, target: Path, sent: Callable[[int], None] = lambda count: None) -> None:
    """Put the file at an address into `target`, unless it is there; `sent` gets the number of bytes so far.

    What an interrupted call left in `target` with the suffix .part is continued, if the server supports ranges.
    Mismatch for a file of another size or hash, Failed for a server that cannot be reached.
    """
    if target.is_file() and target.stat().st_size == size and _hash(target) == sha256:
        return
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fill(address, size, part, sent)
        if _hash(part) != sha256:
            raise Mismatch("does not have the expected SHA-256")
    except Mismatch:
        part.unlink()
        raise
    part.replace(target)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _fill(address: str, size: int, part: Path, sent: Callable[[int], None]) -> None:
    """Append what `part` lacks; start again when the server sends the whole file instead of the rest."""
    have = part.stat().st_size if part.exists() else 0
    if have == size and have:
        return
    with _open(address, have if have < size else 0) as answer:
        _copy(answer, address, size, part, "ab" if answer.status == 206 else "wb", sent)


def _copy(
    answer: HTTPResponse, address: str, size: int, part: Path, mode: Literal["ab", "wb"], sent: Callable[[int], None]
) -> None:
    with part.open(mode) as stream:
        while chunk := _read(address, answer, CHUNK):
            stream.write(chunk)
            if stream.tell() > size:
                raise Mismatch("is larger than expected")
            sent(stream.tell())
        if stream.tell() < size:
            raise Failed(f"{address} ended after {stream.tell()} of {size} bytes", "run it again to resume")


def _open(address: str, start: int) -> HTTPResponse:
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise Failed(f"{address} answered {error.code} {error.reason}", "check the address") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Failed(f"{address} cannot be reached: {reason}", "check the address") from error
    assert isinstance(answer, HTTPResponse)
    return answer


def _read(address: str, answer: HTTPResponse, limit: int) -> bytes:
    try:
        return answer.read(limit)
    except (OSError, HTTPException) as error:
        raise Failed(f"{address} was interrupted: {error}", "run it again to resume") from error
