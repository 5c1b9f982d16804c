"""How a file of a release is made: a program built by Go, or data from a module."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

Kind = Literal["program", "data"]


@dataclass(frozen=True)
class _Recipe:
    """One file of a release.

    `package` is upstream's source, at `version`. `folder` is the one under kubernetes/ that contributes, `links` are
    other names of the file.
    """

    kind: ClassVar[Kind]

    name: str
    version: str
    package: str = ""
    folder: str = ""
    links: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The code's origin, for the manifest."""
        upstream = f"{self.package}@{self.version}" if self.package else ""
        return " ".join(part for part in (upstream, f"kubernetes/{self.folder}" if self.folder else "") if part)

    def input_hash(self, sources: Path) -> str:
        """A hash of everything that determines the file; `sources` is the folder kubernetes/."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for path in source_files(sources / self.folder) if self.folder else []:
            digest.update(f"\0{path.relative_to(sources)}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Program(_Recipe):
    """A program from its project's main package at its version, or from our main in `folder`.

    In a `folder`, `package` is the module that the main uses. The linker sets `variables` (`-X`).
    """

    kind = "program"

    variables: tuple[tuple[str, str], ...] = ()
    static_c: bool = False
    tags: str = ""

    @property
    def installs(self) -> str:
        """The argument of `go install`, in the folder if there is one."""
        return "." if self.folder else f"{self.package}@{self.version}"

    @property
    def installed(self) -> str:
        """The file's name after `go install`: the last part of the package's path."""
        return self.folder or self.package.rsplit("/", 1)[-1]

    @property
    def ldflags(self) -> str:
        words = ["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables)]
        return " ".join([*words, "-extldflags -static"] if self.static_c else words)


@dataclass(frozen=True)
class Pinned(Program):
    """A program from its project's main package, with the dependencies that go.mod in the `folder` pins."""

    @property
    def installs(self) -> str:
        return self.package

    @property
    def installed(self) -> str:
        return self.package.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Data(_Recipe):
    """The `files` of the module `package`, which go.mod in the `folder` pins, concatenated into one file."""

    kind = "data"

    files: tuple[str, ...] = ()


Recipe = Program | Data


def source_files(folder: Path) -> list[Path]:
    """The files that a build of `folder` reads, without tests, in a fixed order."""
    wanted = [*folder.rglob("*.go"), *folder.glob("go.mod"), *folder.glob("go.sum")]
    return sorted(path for path in wanted if not path.name.endswith("_test.go"))


def release_hash(contents: Sequence[Recipe], sources: Path) -> str:
    """A release's name from its inputs: 16 hexadecimal digits."""
    inputs = sorted(f"{recipe.name} {recipe.input_hash(sources)}" for recipe in contents)
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]


def go_sources() -> Path:
    """Our Go modules: a folder beside this file, in a checkout a symbolic link to kubernetes/ at its top."""
    return (Path(__file__).parent / "kubernetes").resolve()
