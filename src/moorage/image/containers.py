"""Container images without a daemon: a root of files becomes one layer in a docker-format archive.

`ctr images import` and `skopeo copy docker-archive:…` read the result. The same inputs give the same bytes: every time
stamp is 0 and every owner is root. Format: the Docker Image Specification v1.2, "Combined Image JSON".
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURE = "amd64"


@dataclass(frozen=True)
class File:
    """A regular file of the image: `path` without a leading slash, from `source` on this machine."""

    path: str
    source: Path
    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link of the image."""

    path: str
    target: str


@dataclass(frozen=True)
class ContainerImage:
    """An image's files and command. `name` is a full reference with a tag."""

    name: str
    entries: tuple[File | Link, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/bin"})
    user: str = ""
    """The command's user, `uid` or `uid:gid`; root when empty."""
    stop_signal: str = ""
    """The signal that stops the command, such as "SIGINT"; SIGTERM when empty."""


def tree(root: Path) -> tuple[File | Link, ...]:
    """Every file and link below a folder, as an image's entries."""
    return tuple(_entry(root, path) for path in sorted(root.rglob("*")) if path.is_symlink() or path.is_file())


def _entry(root: Path, path: Path) -> File | Link:
    inside = path.relative_to(root).as_posix()
    if path.is_symlink():
        return Link(inside, str(path.readlink()))
    return File(inside, path, path.stat().st_mode & 0o777)


def write_archive(image: ContainerImage, archive: Path) -> None:
    """Write one image as a docker-format archive; OSError when a source cannot be read."""
    layer = _layer(image.entries)
    config = _config(image, hashlib.sha256(layer).hexdigest())
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [image.name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as out:
        _add(out, "layer.tar", layer)
        _add(out, config_name, config)
        _add(out, "manifest.json", json.dumps(manifest).encode())


def _config(image: ContainerImage, layer_digest: str) -> bytes:
    runs = {
        "Entrypoint": list(image.command),
        "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
        "User": image.user,
        "WorkingDir": "/",
    }
    document = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": runs | ({"StopSignal": image.stop_signal} if image.stop_signal else {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "moorage"}],
    }
    return json.dumps(document, sort_keys=True).encode()


def _layer(entries: Iterable[File | Link]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as layer:
        ordered = sorted(entries, key=lambda entry: entry.path)
        for folder in _folders(entry.path for entry in ordered):
            layer.addfile(_info(folder, tarfile.DIRTYPE, 0o755))
        for entry in ordered:
            if isinstance(entry, Link):
                info = _info(entry.path, tarfile.SYMTYPE, 0o777)
                info.linkname = entry.target
                layer.addfile(info)
            else:
                _add(layer, entry.path, entry.source.read_bytes(), entry.mode)
    return buffer.getvalue()


def _folders(paths: Iterable[str]) -> list[str]:
    return sorted({str(parent) for path in paths for parent in Path(path).parents if str(parent) != "."})


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = _info(name, tarfile.REGTYPE, mode)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, 0, 0, 0
    return info
